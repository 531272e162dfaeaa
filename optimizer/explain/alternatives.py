"""Other good splits beside the best: the runners-up, and what fewer bytes sent would cost.

The k best splits come from dividing what is left: the splits other than a given one, P = (p₁, …), are those that first
differ from it at cut 1, at cut 2, …; each class is searched by itself, its earlier cuts fixed. The front of bottleneck
against bytes holds every split that no other one beats in both.

Source: Lawler, "A procedure for computing the K best solutions to discrete optimization problems", Management Science
18, 1972.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from optimizer.search import NEVER, Integers, Positions, StageCosts, best_chain, fewest_bytes, first_chain

MOST_POINTS = 100


@dataclass(frozen=True, slots=True)
class Ranked:
    """A split and its objectives."""

    bounds: tuple[int, ...]
    bottleneck_ns: int
    sent_bytes: int


def best_splits(stage_costs: StageCosts, count: int) -> list[Ranked]:
    """Return the ``count`` best splits by the planner's own order, the best first; fewer if there are no more."""
    costs_ns, weights = stage_costs.costs_ns(), stage_costs.cut_bytes()
    heap: list[tuple[tuple[int, int, int, tuple[int, ...]], list[Positions]]] = []

    def offer(allowed: list[Positions]) -> None:
        places = _best_of(costs_ns, weights, allowed)
        if places is not None:
            heapq.heappush(heap, (_objective(costs_ns, weights, places), allowed))

    offer([np.arange(len(cut)) for cut in stage_costs.cuts])
    splits: list[Ranked] = []
    while heap and len(splits) < count:
        (bottleneck, sent, _, places), allowed = heapq.heappop(heap)
        splits.append(Ranked(stage_costs.bounds_at(places), bottleneck, sent))
        for cut in range(len(places)):
            rest = [np.array([place]) for place in places[:cut]]
            other = allowed[cut][allowed[cut] != places[cut]]
            if len(other):
                offer([*rest, other, *allowed[cut + 1 :]])
    return splits


def front(stage_costs: StageCosts) -> list[Ranked]:
    """Return the splits that no other one beats in both, from the smallest bottleneck on; the first ``MOST_POINTS``."""
    costs_ns, weights = stage_costs.costs_ns(), stage_costs.cut_bytes()
    steps = np.unique(np.concatenate([costs[costs < NEVER] for costs in costs_ns]))
    points: list[Ranked] = []
    low = 0
    while len(points) < MOST_POINTS:
        fewest = points[-1].sent_bytes if points else int(NEVER)
        high = len(steps) - 1
        if not len(steps) or _fewest(costs_ns, weights, steps[high]) >= fewest:
            break
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if _fewest(costs_ns, weights, steps[middle]) < fewest else (middle + 1, high)
        limited = [np.where(costs > steps[low], NEVER, costs) for costs in costs_ns]
        places = first_chain(limited, weights, steps[low], fewest_bytes(limited, weights, steps[low]))
        bottleneck, sent, _, _ = _objective(costs_ns, weights, places)
        points.append(Ranked(stage_costs.bounds_at(places), bottleneck, sent))
    return points


def _fewest(costs_ns: Sequence[Integers], weights: Sequence[Integers], limit: np.int64) -> int:
    """Return the fewest bytes of any split whose stages all cost at most ``limit``."""
    return int(fewest_bytes(costs_ns, weights, limit)[0][0][0])


def _best_of(
    costs_ns: Sequence[Integers], weights: Sequence[Integers], allowed: Sequence[Positions]
) -> tuple[int, ...] | None:
    ends = [np.array([0]), *allowed, np.array([0])]
    smaller = [costs[np.ix_(rows, columns)] for costs, (rows, columns) in zip(costs_ns, pairwise(ends), strict=True)]
    places = best_chain(smaller, [weight[cut] for weight, cut in zip(weights, allowed, strict=True)])
    return None if places is None else tuple(int(cut[place]) for cut, place in zip(allowed, places, strict=True))


def _objective(
    costs_ns: Sequence[Integers], weights: Sequence[Integers], places: Sequence[int]
) -> tuple[int, int, int, tuple[int, ...]]:
    ends = [0, *places, 0]
    costs = sorted(
        (int(costs[before, through]) for costs, (before, through) in zip(costs_ns, pairwise(ends), strict=True))
    )
    sent = sum(int(weight[place]) for weight, place in zip(weights, places, strict=True))
    return costs[-1], sent, costs[-2] if len(costs) > 1 else 0, tuple(places)
