"""Find the split of the smallest pace where a stage may have several ranks (``optimizer.crew``).

R ranks stand in a row; a chain of ideals ∅ ⊂ I₁ ⊂ … ⊂ V and replicas r₁, r₂, … that add up to R give each stage its
layers and the next r_s of the ranks. A replica has every r_s-th minibatch, and averages its gradients with the others
after each of them, which nothing hides. So a minibatch takes the stage

    pace_s = ( cost(J, I) + all-reduce(learning bytes of I∖J, its ranks) ) ÷ r_s,

costs being those of its slowest rank. What lies between two stages takes one message after the other, in as many ways
as the smaller of them has ranks:

    pace of a cut = busy(I) ÷ min(r_s, r_{s+1}).

The smallest largest pace is found exactly over all splits and numbers of replicas by

    best(I, m, r) = min over J ⊂ I and r' of max( best(J, m − r, r'), cut(J, r', r), stage(J, I, ranks m − r … m − 1) ),

where m ranks are used up and r of them have the last stage: O(R² · ranks of a stage · |ideals|²). Paces are compared as
integers, times the least common multiple of 1 … R.

What is left out: a stage's wait for messages and for the backwards of other replicas, which few minibatches in flight
may not hide; the simulator has it. Ties go to the split found first, with fewer replicas in the last stages.

Source: Narayanan et al., "PipeDream", SOSP 2019, section 3.1, whose T takes the larger of computing and all-reducing as
if one hid the other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np

from optimizer.ideals import members_of
from optimizer.lattice import Integers, Lattice, comparable, sums
from optimizer.network import Direction, Network
from optimizer.networked import NEVER
from optimizer.problem import Problem


@dataclass(frozen=True, slots=True)
class Replicated:
    """A split over ranks.

    Attributes:
        bounds: ∅ ⊂ I₁ ⊂ … ⊂ V as sets of layers.
        replicas: How many ranks each stage has.
        pace_ns: What the slowest stage or cut takes for a minibatch.
    """

    bounds: tuple[int, ...]
    replicas: tuple[int, ...]
    pace_ns: Fraction


def best_replicated(problem: Problem, network: Network, found: Lattice) -> Replicated:
    """Return the split of the smallest pace over all ranks; ``problem`` says what layers cost, not how many stages."""
    scale = math.lcm(*range(1, network.size + 1))
    tables = _Tables(problem, network, found, scale)
    count, size = len(found), network.size
    best: dict[tuple[int, int], Integers] = {}
    origins: dict[tuple[int, int], tuple[Integers, Integers]] = {}
    for used in range(1, size + 1):
        for own in range(1, used + 1):
            stage = tables.stage(used - own, own)
            if own == used:
                best[used, own] = stage[0]
                origins[used, own] = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
                continue
            pace = np.full(count, NEVER)
            origin, previous = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
            for other in range(1, used - own + 1):
                before = np.maximum(best[used - own, other], tables.cut(used - own, other, own))
                candidates = np.maximum(before[:, None], stage)
                places = candidates.argmin(axis=0)
                values = candidates[places, np.arange(count)]
                better = values < pace
                pace = np.where(better, values, pace)
                origin, previous = np.where(better, places, origin), np.where(better, other, previous)
            best[used, own], origins[used, own] = pace, (origin, previous)
    own = min(range(1, size + 1), key=lambda last: int(best[size, last][-1]))
    places, replicas, used = [count - 1], [own], size
    pace_ns = Fraction(int(best[size, own][-1]), scale)
    while replicas[-1] != used:
        origin, previous = origins[used, replicas[-1]]
        used -= replicas[-1]
        replicas.append(int(previous[places[-1]]))
        places.append(int(origin[places[-1]]))
    bounds = (0, *(found.ideals[at] for at in reversed(places)))
    return Replicated(bounds, tuple(reversed(replicas)), pace_ns)


def pace_ns(problem: Problem, network: Network, bounds: Sequence[int], replicas: Sequence[int]) -> Fraction:
    """Return what the slowest stage or cut of a split takes for a minibatch."""
    merged = network.merged(replicas)
    paces = []
    for stage, (pair, own) in enumerate(zip(pairwise(bounds), replicas, strict=True)):
        whole_ns = merged.costs_at(stage, problem.costs).stage_ns(*pair)
        paces.append(Fraction(whole_ns + all_reduce_ns(problem, network, bounds, replicas, stage), own))
    for cut, ideal in enumerate(bounds[1:-1]):
        busy_ns = max(one.busy_ns for one in merged.messages(cut, *problem.crossing_bytes(ideal)))
        paces.append(Fraction(busy_ns, min(replicas[cut], replicas[cut + 1])))
    return max(paces)


def all_reduce_ns(
    problem: Problem, network: Network, bounds: Sequence[int], replicas: Sequence[int], stage: int
) -> int:
    """Return what averaging a stage's gradients over its ranks takes; nothing on one."""
    if replicas[stage] == 1:
        return 0
    own = members_of(bounds[stage + 1] & ~bounds[stage])
    size = sum(problem.costs.layers[at].learning_bytes for at in own)
    return network.all_reduces[sum(replicas[:stage]), replicas[stage]].message(size).whole_ns


def even_share_ns(problem: Problem, network: Network) -> int:
    """Return what no split falls below: all work, updates as they are cheapest, shared by the cores by their speeds.

    Less what rounding may have taken.
    """
    costs = problem.costs
    least = sum(work - max(0, saving) for work, saving in zip(costs.weight_ns, costs.saving_ns, strict=True))
    return max(0, int(least / sum(1 / factor for factor in network.factors)) - 4 * len(costs.layers))


class _Tables:
    """Paces of stages by pair of ideals ``[J, I]`` and of cuts by ideal, times ``scale``."""

    def __init__(self, problem: Problem, network: Network, found: Lattice, scale: int) -> None:
        self._problem, self._network, self._found, self._scale = problem, network, found, scale
        everything = np.arange(len(found))
        self._legal = comparable(found, everything, everything)
        learning = np.array([[layer.learning_bytes] for layer in problem.costs.layers], dtype=np.int64)
        held = sums(found, learning)[:, 0]
        self._learning = np.where(self._legal, held[None, :] - held[:, None], 0)
        self._bytes = [problem.crossing_bytes(ideal) for ideal in found.ideals]
        self._stages: dict[Fraction, Integers] = {}

    def stage(self, first: int, ranks: int) -> Integers:
        """Return the paces of stages on ``ranks`` ranks from ``first`` on."""
        factor = max(self._network.factors[first : first + ranks])
        whole = self._costs(self._network.factors.index(factor), factor)
        if ranks > 1:
            whole = whole + _times(self._network.all_reduces[first, ranks], self._learning)
        return np.where(self._legal, whole * (self._scale // ranks), NEVER)

    def cut(self, used: int, before: int, behind: int) -> Integers:
        """Return the paces of a cut behind ``used`` ranks, of which ``before`` have the stage before it."""
        first = used - before
        alone = [1] * first + [before, behind] + [1] * (self._network.size - used - behind)
        merged = self._network.merged(alone)
        busy = [max(one.busy_ns for one in merged.messages(first, *both)) for both in self._bytes]
        return np.array(busy, dtype=np.int64) * (self._scale // min(before, behind))

    def _costs(self, rank: int, factor: Fraction) -> Integers:
        """Return cost(J, I) on a rank, by pair of ideals."""
        if factor not in self._stages:
            costs = self._network.costs_at(rank, self._problem.costs)
            work, saving = sums(self._found, np.array([costs.weight_ns, costs.saving_ns], dtype=np.int64).T).T
            crossing = [costs.crossing(ideal) for ideal in self._found.ideals]
            down = np.array([sum(value.copy_output_ns for value in values) for values in crossing])
            up = np.array([sum(value.copy_gradient_ns for value in values) for values in crossing])
            whole = (work + down)[None, :] - (work - up)[:, None]
            whole[:, -1] += costs.loss_ns - (saving[-1] - saving)
            self._stages[factor] = whole
        return self._stages[factor]


def _times(direction: Direction, sizes: Integers) -> Integers:
    """Return what all-reduces of some sizes take, each size worked out once."""
    known, places = np.unique(sizes, return_inverse=True)
    times = np.array([direction.message(int(size)).whole_ns for size in known], dtype=np.int64)
    return times[places].reshape(sizes.shape)
