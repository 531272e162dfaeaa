import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.errors import PartitionError
from optimizer.planning import load_schemes
from optimizer.planning.schemes import scheme_cuts


def test_the_studys_six_schemes_have_the_shares_that_were_fixed() -> None:
    fixed = {
        "front-heavy": (55, 15, 15, 15),
        "front-load": (35, 35, 15, 15),
        "middle-load": (15, 35, 35, 15),
        "end-load": (15, 15, 35, 35),
        "end-heavy": (15, 15, 15, 55),
        "equal-load": (25, 25, 25, 25),
    }
    assert fixed.items() <= load_schemes().items()


@pytest.mark.parametrize(
    ("name", "cuts"),
    [
        ("front-heavy", [12, 15, 19]),  # 12.1, 15.4, 18.7
        ("equal-load", [6, 11, 16]),  # 5.5, 11, 16.5: halves go to the even number
    ],
)
def test_cuts_of_22_layers_by_hand(name: str, cuts: list[int]) -> None:
    assert scheme_cuts(load_schemes()[name], 22, list(range(1, 22)), 4) == cuts


def test_two_stages_interpolate_the_shares() -> None:
    legal = list(range(1, 100))
    assert scheme_cuts((55, 15, 15, 15), 100, legal, 2) == [70]
    assert scheme_cuts((55, 15, 15, 15), 100, legal, 3) == [60, 80]  # thirds: 55 + 15/3, 70 + 15·2/3
    assert scheme_cuts((55, 15, 15, 15), 100, legal, 1) == []


def test_a_cut_moves_to_the_nearest_legal_place_and_the_earlier_of_two() -> None:
    assert scheme_cuts((25, 25, 25, 25), 100, [10, 40, 60, 76, 90], 2) == [40]
    assert scheme_cuts((25, 25, 25, 25), 100, [1, 2, 3], 4) == [1, 2, 3]


@given(
    shares=st.sampled_from(sorted(load_schemes().values())),
    layers=st.integers(2, 60),
    stages=st.integers(1, 8),
    data=st.data(),
)
def test_every_stage_keeps_a_layer(shares: tuple[int, ...], layers: int, stages: int, data: st.DataObject) -> None:
    legal = sorted(data.draw(st.sets(st.integers(1, layers - 1))))
    if len(legal) < stages - 1:
        with pytest.raises(PartitionError, match=f"use --stages {len(legal) + 1} or fewer"):
            scheme_cuts(shares, layers, legal, stages)
        return
    cuts = scheme_cuts(shares, layers, legal, stages)
    assert len(cuts) == stages - 1
    assert set(cuts) <= set(legal)
    assert cuts == sorted(set(cuts))


def test_shares_make_the_whole() -> None:
    assert {sum(shares) for shares in load_schemes().values()} == {100}
