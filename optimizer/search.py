"""Choose the cuts that minimise the slowest stage.

    best(J, 1) = cost(J, V)
    best(J, s) = min over ideals I ⊃ J of  max(cost(J, I), best(I, s − 1))

where best(J, s) is the smallest bottleneck of running what lies behind ideal J on s stages. Exact over all downsets of
the layer graph; O(S·|ideals|²) cost look-ups. Replication is not modelled.

Among the splits of smallest bottleneck B, those that send the fewest bytes; among these the smallest second-worst
stage; among these the earliest cuts in rank order. A lexicographic (maximum, sum) has no optimal substructure, so the
objectives are met one after the other: bytes over the arcs that cost at most B; then, by bisection over the arcs'
costs, the smallest T such that a split of B and these bytes has at most one stage above T; then cuts from the front.
Everything is an integer, so ties are ties.

Source: Narayanan et al., "PipeDream", SOSP 2019, section 3.1; ideals after Tarnawski et al., NeurIPS 2020.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
NEVER = np.int64(1) << 62
"""Larger than any cost, and small enough that two of it do not overflow when one is added to a cost."""


def best_cuts(costs: Integers, cut_bytes: Sequence[int], stages: int) -> list[int] | None:
    """Return the chain ∅ ⊂ I₁ ⊂ … ⊂ V of the best split as positions in the list of ideals.

    Args:
        costs: ``costs[J, I]`` in nanoseconds, negative where J ⊂ I does not hold; the first ideal is ∅, the last V, and
            ideals stand in rank order.
        cut_bytes: Bytes that cross the cut behind each ideal.
        stages: Number of stages, each with at least one layer.

    Returns:
        ``stages + 1`` positions, or None if no chain is that long.
    """
    costs = np.where(costs < 0, NEVER, costs)
    weights = np.array(cut_bytes, dtype=np.int64)
    bottleneck = _smallest_bottleneck(costs, stages)
    if bottleneck >= NEVER:
        return None
    costs = np.where(costs > bottleneck, NEVER, costs)
    sent = _fewest_bytes(costs, weights, stages, bottleneck)[-1][1][0]
    candidates = np.unique(costs[costs < NEVER])
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        if _fewest_bytes(costs, weights, stages, candidates[middle])[-1][1][0] == sent:
            high = middle
        else:
            low = middle + 1
    threshold = candidates[low]
    return _first_chain(costs, weights, stages, threshold, _fewest_bytes(costs, weights, stages, threshold))


def _smallest_bottleneck(costs: Integers, stages: int) -> np.int64:
    best: Integers = costs[:, -1]
    for _ in range(stages - 1):
        best = np.maximum(costs, best[None, :]).min(axis=1)
    return np.int64(best[0])


Fewest = tuple[Integers, Integers]
"""For each ideal J, the fewest bytes sent behind it with no stage above the threshold, and with at most one."""


def _fewest_bytes(costs: Integers, weights: Integers, stages: int, threshold: np.int64) -> list[Fewest]:
    """Return for s = 1 … stages the fewest bytes that s stages behind each ideal send, ``NEVER`` where they cannot."""
    small, any_size = costs <= threshold, costs < NEVER
    none: Integers = np.where(small[:, -1], 0, NEVER)
    one: Integers = np.where(any_size[:, -1], 0, NEVER)
    found = [(none, one)]
    for _ in range(stages - 1):
        none_behind = np.minimum(weights + none, NEVER)
        one_behind = np.minimum(weights + one, NEVER)
        over = np.where(any_size, none_behind[None, :], NEVER).min(axis=1)
        one = np.minimum(over, np.where(small, one_behind[None, :], NEVER).min(axis=1))
        none = np.where(small, none_behind[None, :], NEVER).min(axis=1)
        found.append((none, one))
    return found


def _first_chain(
    costs: Integers, weights: Integers, stages: int, threshold: np.int64, fewest: Sequence[Fewest]
) -> list[int]:
    chain, spare = [0], 1
    for behind in range(stages - 1, 0, -1):
        here = chain[-1]
        budget = fewest[behind][spare][here]
        for there in range(len(weights)):
            over = int(costs[here, there] > threshold)
            if costs[here, there] < NEVER and over <= spare:
                rest = fewest[behind - 1][spare - over][there]
                if rest < NEVER and weights[there] + rest == budget:
                    chain.append(there)
                    spare -= over
                    break
    return [*chain, len(weights) - 1]
