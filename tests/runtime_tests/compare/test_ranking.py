"""Ranks, order and ratios of splits: never at odds with each other, whatever the rounds were."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.compare.ranking import Rounds, ranking, ratio_of

SPEEDS = st.dictionaries(st.integers(1, 6), st.sampled_from([8.0, 9.0, 9.9, 10.0, 10.1, 11.0, 12.5, 30.0]), max_size=6)
"""Few figures, so that ties and equal medians are common; a round that is not there failed."""


def rounds(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def ranks(reference: str, **speeds: Rounds) -> Mapping[str, int]:
    return ranking(speeds, reference).ranks


def test_ranks_share_a_place_where_noise_cannot_tell_them_apart() -> None:
    found = {"a": rounds(10, 11, 10), "b": rounds(11, 10, 9), "c": rounds(5, 5.1, 5), "d": rounds(5, 5, 5.1), "e": {}}
    assert ranks("a", **found) == {"a": 1, "b": 1, "c": 3, "d": 3}
    assert ranks("c", **found) == {"a": 1, "b": 1, "c": 3, "d": 3}, "whatever they are compared with"


def test_one_round_ranks_nothing() -> None:
    assert ranks("a", a=rounds(10), b=rounds(9.9), c=rounds(1)) == {}
    assert ranks("a", a=rounds(10, 10), b=rounds(5)) == {"a": 1}
    assert ranks("a", a={1: 10.0, 2: 10.0}, b={3: 5.0, 4: 5.0}) == {"a": 1}, "they share no round"
    assert ranks("a", a={}, b=rounds(5, 6), c=rounds(7, 7)) == {}, "there is nothing to compare with"


def test_a_split_too_noisy_to_be_told_from_the_reference_has_no_place_beyond_others_that_are() -> None:
    found = {"a": rounds(10, 10, 10), "b": rounds(9, 9, 9), "c": rounds(12, 5, 5), "d": rounds(1, 1, 1)}
    assert ranks("a", **found) == {"a": 1, "b": 2, "d": 3}
    assert ranking(found, "a").order == ("a", "b", "c", "d")


@settings(deadline=None, max_examples=100)
@given(st.lists(SPEEDS, min_size=1, max_size=5))
def test_order_ranks_and_ratios_say_the_same(speeds: list[dict[int, float]]) -> None:
    found = {f"split {number}": own for number, own in enumerate(speeds)}
    reference = found["split 0"]
    ranked = ranking(found, "split 0")
    assert sorted(ranked.order) == sorted(found)
    medians = {
        name: float(np.median([reference[key] / own[key] for key in own if key in reference]))
        for name, own in found.items()
        if set(own) & set(reference)
    }
    with_ratio = [name for name in ranked.order if name in medians]
    assert with_ratio == list(ranked.order)[: len(with_ratio)]
    assert [medians[name] for name in with_ratio] == sorted(medians.values())
    for name, median in medians.items():
        assert ranked.ratios[name].median == pytest.approx(median)
    places = [ranked.ranks[name] for name in ranked.order if name in ranked.ranks]
    assert places == [1 + sum(other < own for other in places) for own in places]
    assert places == sorted(places)
    for name in medians:
        ratio = ranked.ratios[name]
        holds_one = ratio.low <= 1 <= ratio.high
        if name in ranked.ranks:
            assert len(ratio.runs) > 1
            assert (ranked.ranks[name] == ranked.ranks["split 0"]) == holds_one
        else:
            assert len(ratio.runs) == 1 or holds_one
    apart = [name for name in with_ratio if ranked.ranks.get(name) not in {None, ranked.ranks.get("split 0")}]
    for name, other in pairwise(apart):
        same_side = (ranked.ratios[name].low > 1) == (ranked.ratios[other].low > 1)
        if same_side and ranked.ranks[name] < ranked.ranks[other]:
            leader = next(own for own in apart if ranked.ranks[own] == ranked.ranks[name])
            direct = ratio_of(found[leader], found[other])
            assert direct is not None
            assert direct.low > 1, "it is slower beyond noise than the first of those before, in the rounds of the two"
