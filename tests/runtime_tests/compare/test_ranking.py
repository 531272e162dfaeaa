"""Ranks, order and ratios of splits: never at odds with each other, whatever the rounds were."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.compare.ranking import ranking, ratio_of

SPEEDS = st.dictionaries(st.integers(1, 6), st.sampled_from([8.0, 9.0, 9.9, 10.0, 10.1, 11.0, 12.5, 30.0]), max_size=6)
"""Few figures, so that ties and equal medians are common; a round that is not there failed."""


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
