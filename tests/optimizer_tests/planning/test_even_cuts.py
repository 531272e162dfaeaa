"""Where an even split cuts inside layers, against algebra, and what plans of models that are cut there give."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from other_forms import cuttable, sliced
from strategies import FREE, chain

from optimizer.costs import costs_of
from optimizer.planning import Planner, even_share_s, even_slicing
from profiler.profile import pieces_of


@settings(deadline=None, max_examples=60)
@given(times_ms=st.lists(st.integers(1, 40), min_size=4, max_size=9), stages=st.integers(2, 4))
def test_where_blocks_cost_what_they_divide_any_chain_is_split_evenly(times_ms: list[int], stages: int) -> None:
    profile = cuttable(chain(times_ms, copy_cost=FREE), [f"l{at}" for at in range(len(times_ms))])
    even_s = even_share_s(costs_of(profile), stages)
    assert even_s == pytest.approx((sum(times_ms) / 1e3 + 2e-4) / stages)
    slicing = even_slicing(costs_of(profile), stages)
    cut = sliced(profile, slicing) if slicing else profile
    assert Planner(cut, stages, 8).optimized().bottleneck_s <= 1.05 * even_s
    assert sum(len(pieces) for pieces in pieces_of(slicing).values()) <= 2 * (stages - 1), "a cut makes one layer two"


@settings(deadline=None, max_examples=60)
@given(
    times_ms=st.lists(st.integers(1, 40), min_size=4, max_size=7),
    stages=st.integers(2, 4),
    whole=st.sets(st.integers(0, 6)),
)
def test_only_what_can_be_cut_is_cut_and_into_all_its_features(
    times_ms: list[int], stages: int, whole: set[int]
) -> None:
    profile = cuttable(chain(times_ms, copy_cost=FREE), [f"l{at}" for at in range(len(times_ms)) if at not in whole])
    pieces = pieces_of(even_slicing(costs_of(profile), stages))
    assert not whole & {int(name[1:]) for name in pieces}
    assert all(sum(lengths) == 4096 and len(lengths) > 1 for lengths in pieces.values())


def test_a_place_at_the_end_of_a_layer_is_no_cut_inside_it() -> None:
    near = cuttable(chain([10, 10, 10, 9.9], copy_cost=FREE), ["l0", "l1", "l2", "l3"])
    assert even_slicing(costs_of(near), 4) == ""
    far = cuttable(chain([10, 10, 10, 14], copy_cost=FREE), ["l3"])
    assert pieces_of(even_slicing(costs_of(far), 4)).keys() == {"l3"}
