"""Choose the cuts that minimise the slowest stage, and settle ties.

Among the splits of smallest bottleneck B, those that send the fewest bytes; among these the smallest second-worst
stage; among these the earliest cuts in rank order. A lexicographic (maximum, sum) has no optimal substructure, so the
objectives are met one after the other: bytes over the stages that cost at most B; then, by bisection over their costs,
the smallest T such that a split of B and these bytes has at most one stage above T; then cuts from the front. Only the
candidates are looked at that a split of B can be cut at. Everything is an integer, so ties are ties.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from optimizer.search.stage_table import NEVER, Integers

Matrices = Callable[[int], Integers]
"""Returns what a stage costs, ``[J, I]``, from candidate J of the cut before it to candidate I of the cut behind it;
``NEVER`` where there is no such stage. Candidates are the same for all cuts, ∅ first, V last."""


def best_chain(costs: Matrices, stages: int, cut_bytes: Integers) -> list[int] | None:
    """Return the best split as the place of each cut among its candidates, or None if there is none.

    Args:
        costs: What each stage costs, in nanoseconds.
        stages: How many there are.
        cut_bytes: The bytes that cross behind each candidate.
    """
    behind = smallest_behind(costs, stages)
    bottleneck = behind[0][0]
    if bottleneck >= NEVER:
        return None
    before, places = np.full(len(cut_bytes), NEVER), [np.array([0])]
    before[0] = 0
    for stage in range(stages - 1):
        before = np.maximum(costs(stage), before[:, None]).min(axis=0)
        places.append(np.flatnonzero((before <= bottleneck) & (behind[stage + 1] <= bottleneck)))
    places.append(np.array([len(cut_bytes) - 1]))
    kept = [costs(stage)[np.ix_(*ends)] for stage, ends in enumerate(pairwise(places))]
    chosen = _settled(
        [np.where(own > bottleneck, NEVER, own) for own in kept], [cut_bytes[own] for own in places[1:-1]]
    )
    return [int(own[place]) for own, place in zip(places[1:-1], chosen, strict=True)]


def smallest_behind(costs: Matrices, stages: int) -> list[Integers]:
    """Return for each stage, front first, the smallest dearest stage from it on, by where it begins."""
    behind = [costs(stages - 1)[:, -1]]
    for stage in range(stages - 2, -1, -1):
        behind.append(np.maximum(costs(stage), behind[-1][None, :]).min(axis=1))
    return behind[::-1]


def first_smallest(costs: Matrices, stages: int) -> list[int] | None:
    """Return, of the splits whose dearest stage is smallest, the one of the first candidates; None if there is none."""
    behind = smallest_behind(costs, stages)
    limit = behind[0][0]
    if limit >= NEVER:
        return None
    chain, here = [], 0
    for stage in range(stages - 1):
        here = int(np.flatnonzero((costs(stage)[here] <= limit) & (behind[stage + 1] <= limit))[0])
        chain.append(here)
    return chain


def _settled(costs_ns: Sequence[Integers], cut_bytes: Sequence[Integers]) -> list[int]:
    """Return the place of each cut in the split that ties leave.

    Args:
        costs_ns: For each stage ``[J, I]``, over the candidates of its own two cuts.
        cut_bytes: For each cut the bytes that cross it, by candidate.
    """
    steps = np.unique(np.concatenate([costs[costs < NEVER] for costs in costs_ns]))
    sent = _fewest_bytes(costs_ns, cut_bytes, steps[-1])[0][1][0]
    low, high = 0, len(steps) - 1
    while low < high:
        middle = (low + high) // 2
        if _fewest_bytes(costs_ns, cut_bytes, steps[middle])[0][1][0] == sent:
            high = middle
        else:
            low = middle + 1
    return _first_chain(costs_ns, cut_bytes, steps[low], _fewest_bytes(costs_ns, cut_bytes, steps[low]))


Fewest = tuple[Integers, Integers]
"""For each candidate, the fewest bytes sent behind it with no stage above the threshold, and with at most one."""


def _fewest_bytes(costs_ns: Sequence[Integers], cut_bytes: Sequence[Integers], threshold: np.int64) -> list[Fewest]:
    """Return for each cut, front first, the fewest bytes that the stages behind it send; ``NEVER`` if they cannot.

    Args:
        costs_ns: As ``best_chain`` takes them.
        cut_bytes: Likewise.
        threshold: What no stage, or at most one, may exceed.
    """
    none = np.where(costs_ns[-1][:, 0] <= threshold, np.int64(0), NEVER)
    at_most_one = np.where(costs_ns[-1][:, 0] < NEVER, np.int64(0), NEVER)
    table = [(none, at_most_one)]
    for costs, weights in zip(costs_ns[-2::-1], cut_bytes[::-1], strict=True):
        small, any_size = costs <= threshold, costs < NEVER
        none_behind, one_behind = np.minimum(weights + none, NEVER), np.minimum(weights + at_most_one, NEVER)
        over = np.where(any_size, none_behind[None, :], NEVER).min(axis=1, initial=NEVER)
        at_most_one = np.minimum(over, np.where(small, one_behind[None, :], NEVER).min(axis=1, initial=NEVER))
        none = np.where(small, none_behind[None, :], NEVER).min(axis=1, initial=NEVER)
        table.append((none, at_most_one))
    return table[::-1]


def _first_chain(
    costs_ns: Sequence[Integers], cut_bytes: Sequence[Integers], threshold: np.int64, fewest: Sequence[Fewest]
) -> list[int]:
    """Return the first chain that sends the fewest bytes with at most one stage above ``threshold``."""
    chain: list[int] = []
    here, spare = 0, 1
    for stage, (costs, weights) in enumerate(zip(costs_ns[:-1], cut_bytes, strict=True)):
        budget = fewest[stage][spare][here]
        over = costs[here] > threshold
        none, at_most_one = fewest[stage + 1]
        rest = np.where(over, none, at_most_one if spare else none)
        fits = (costs[here] < NEVER) & (rest < NEVER) & (weights + rest == budget) & (~over | (spare > 0))
        here = int(np.flatnonzero(fits)[0])
        spare -= int(over[here])
        chain.append(here)
    return chain
