"""Choose the cuts that minimise the slowest stage.

    best(J, S) = cost(J, V)
    best(J, s) = min over candidates I ⊃ J of cut s of  max(cost(J, I), best(I, s + 1))

where best(J, s) is the smallest bottleneck of what lies behind ideal J when J stands at cut s − 1. Exact over the given
candidates; where these are all ideals, or all that ``bisection`` leaves over, over all downsets of the layer graph.
Stages on several cores are not modelled.

Among the splits of smallest bottleneck B, those that send the fewest bytes; among these the smallest second-worst
stage; among these the earliest cuts in rank order. A lexicographic (maximum, sum) has no optimal substructure, so the
objectives are met one after the other: bytes over the stages that cost at most B; then, by bisection over their
costs, the smallest T such that a split of B and these bytes has at most one stage above T; then cuts from the front.
Everything is an integer, so ties are ties.

Source: Narayanan et al., "PipeDream", SOSP 2019, section 3.1; ideals after Tarnawski et al., NeurIPS 2020.
"""

from collections.abc import Sequence

import numpy as np

from optimizer.search.lattice import Integers
from optimizer.search.stage_costs import NEVER


def best_chain(costs_ns: Sequence[Integers], cut_bytes: Sequence[Integers]) -> list[int] | None:
    """Return the best split as the place of each cut among its candidates.

    Args:
        costs_ns: For each stage ``[J, I]``, what it costs in nanoseconds from candidate J of the cut before it to
            candidate I of the cut behind it; ``NEVER`` where there is no such stage. The first has one row, the last
            one column. Candidates stand in rank order.
        cut_bytes: For each cut the bytes that cross it, by candidate.

    Returns:
        One place a cut, or None if there is no chain.
    """
    bottleneck = smallest_maximum(costs_ns)
    if bottleneck >= NEVER:
        return None
    costs_ns = [np.where(costs > bottleneck, NEVER, costs) for costs in costs_ns]
    sent = fewest_bytes(costs_ns, cut_bytes, bottleneck)[0][1][0]
    candidates = np.unique(np.concatenate([costs[costs < NEVER] for costs in costs_ns]))
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        if fewest_bytes(costs_ns, cut_bytes, candidates[middle])[0][1][0] == sent:
            high = middle
        else:
            low = middle + 1
    threshold = candidates[low]
    return first_chain(costs_ns, cut_bytes, threshold, fewest_bytes(costs_ns, cut_bytes, threshold))


def smallest_maximum(costs_ns: Sequence[Integers]) -> np.int64:
    """Return the smallest dearest stage of any chain, or at least ``NEVER`` if there is no chain."""
    return np.int64(_behind(costs_ns)[0][0])


def first_smallest_maximum(costs_ns: Sequence[Integers]) -> list[int] | None:
    """Return, of the chains whose dearest stage is smallest, the one of the first candidates; None if there is none."""
    behind = _behind(costs_ns)
    limit = behind[0][0]
    if limit >= NEVER:
        return None
    chain, here = [], 0
    for costs, rest in zip(costs_ns[:-1], behind[1:], strict=True):
        here = int(np.flatnonzero((costs[here] <= limit) & (rest <= limit))[0])
        chain.append(here)
    return chain


def _behind(costs_ns: Sequence[Integers]) -> list[Integers]:
    """Return for each cut, front first, the smallest dearest stage of any chain behind each of its candidates."""
    best = [costs_ns[-1][:, 0]]
    for costs in costs_ns[-2::-1]:
        best.append(np.maximum(costs, best[-1][None, :]).min(axis=1, initial=NEVER))
    return best[::-1]


Fewest = tuple[Integers, Integers]
"""For each candidate, the fewest bytes sent behind it with no stage above the threshold, and with at most one."""


def fewest_bytes(costs_ns: Sequence[Integers], cut_bytes: Sequence[Integers], threshold: np.int64) -> list[Fewest]:
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


def first_chain(
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
