"""Find the split of the smallest bottleneck where a stage may have several ranks (``optimizer.schedule.layout``).

R ranks stand in a row; a chain of ideals ∅ ⊂ I₁ ⊂ … ⊂ V and replicas r₁, r₂, … that add up to R give each stage its
layers and the next r_s of the ranks. A replica has every r_s-th minibatch, and averages its gradients with the others
after each of them, which nothing hides. So a minibatch takes the stage

    stage time_s = ( cost(J, I) + all-reduce(learning bytes of I∖J, its ranks) ) ÷ r_s,

costs being those of its slowest rank. What lies between two stages takes one message after the other, in as many ways
as the smaller of them has ranks:

    time of a cut = busy(I) ÷ min(r_s, r_{s+1}).

The smallest bottleneck is found exactly over all splits and numbers of replicas by

    best(I, m, r) = min over J ⊂ I and r' of max( best(J, m − r, r'), cut(J, r', r), stage(J, I, ranks m − r … m − 1) ),

where m ranks are used up and r of them have the last stage: O(R³ · |ideals|²). A chain with one rank everywhere is left
out, for which ``over_links`` has the exact period. Paces are compared as integers, times the least common multiple of
1 … R.

What is left out: what the minibatches in flight cannot hide of messages; the simulator has it. Ties go to the split
found first, with fewer replicas in the last stages.

Source: Narayanan et al., "PipeDream", SOSP 2019, section 3.1, whose T takes the larger of computing and all-reducing as
if one hid the other.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from optimizer.costs import Direction, Network, Problem, members_of
from optimizer.errors import OptimizerError
from optimizer.search.lattice import Integers, Lattice, comparable, sums
from optimizer.search.over_links import UNREACHABLE


@dataclass(frozen=True, slots=True)
class Replicated:
    """A split over ranks.

    Attributes:
        bounds: ∅ ⊂ I₁ ⊂ … ⊂ V as sets of layers.
        replicas: How many ranks each stage has.
        bottleneck_ns: What the slowest stage or cut takes for a minibatch.
    """

    bounds: tuple[int, ...]
    replicas: tuple[int, ...]
    bottleneck_ns: Fraction


def best_replicated(problem: Problem, network: Network, lattice: Lattice) -> Replicated:
    """Return the split of the smallest bottleneck over all ranks that has several of them in some stage.

    Args:
        problem: What layers cost; how many stages it has does not matter.
        network: At least two ranks.
        lattice: The ideals to cut behind.

    Raises:
        OptimizerError: There are too many ranks for 64-bit integers.
    """
    size = network.size
    tables = ReplicatedTables(problem, network, lattice)
    best: dict[_State, Integers] = {}
    origins: dict[_State, _Origin] = {}
    for used, own in ((total, last) for total in range(1, size + 1) for last in range(1, total + 1)):
        stage = tables.stage(used - own, own)
        if own == used:
            best[used, own, own > 1] = stage[0]
            continue
        cuts = {other: tables.cut(used - own, other, own) for other in range(1, used - own + 1)}
        for several in (False, True) if own == 1 else (True,):
            before = [earlier for earlier in best if earlier[0] == used - own and (own > 1 or earlier[2] == several)]
            if before:
                times = [np.maximum(best[earlier], cuts[earlier[1]]) for earlier in before]
                best[used, own, several], origins[used, own, several] = _extended(before, times, stage)
    state = min(
        (earlier for earlier in best if earlier[0] == size and earlier[2]), key=lambda earlier: int(best[earlier][-1])
    )
    bottleneck_ns = Fraction(int(best[state][-1]), tables.scale)
    places, replicas = [len(lattice) - 1], [state[1]]
    while state in origins:
        origin = origins[state]
        state = origin.states[origin.which[places[-1]]]
        places.append(int(origin.places[places[-1]]))
        replicas.append(state[1])
    bounds = (0, *(lattice.ideals[at] for at in reversed(places)))
    return Replicated(bounds, tuple(reversed(replicas)), bottleneck_ns)


_State = tuple[int, int, bool]
"""How many ranks are used up, how many of them have the last stage, and whether any stage has several."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """For each ideal, where the stage before the last one ends: its place, and which of some states it is in."""

    states: list[_State]
    which: Integers
    places: Integers


def _extended(before: list[_State], times: Sequence[Integers], stage: Integers) -> tuple[Integers, _Origin]:
    """Return the smallest times of splits with one more stage, and where they come from."""
    candidates = [np.maximum(time[:, None], stage) for time in times]
    places = np.array([values_of.argmin(axis=0) for values_of in candidates])
    values = np.array([values_of.min(axis=0) for values_of in candidates])
    which, columns = values.argmin(axis=0), np.arange(stage.shape[1])
    return values[which, columns], _Origin(before, which, places[which, columns])


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


class ReplicatedTables:
    """Paces of stages by pair of ideals ``[J, I]`` and of cuts by ideal, times ``scale``."""

    def __init__(self, problem: Problem, network: Network, lattice: Lattice) -> None:
        """Prepare; ``scale`` is the least common multiple of all numbers of ranks."""
        self._problem, self._network, self._lattice = problem, network, lattice
        self.scale = math.lcm(*range(1, network.size + 1))
        everything = np.arange(len(lattice))
        self._legal = comparable(lattice, everything, everything)
        learning = np.array([[layer.learning_bytes] for layer in problem.costs.layers], dtype=np.int64)
        held = sums(lattice, learning)[:, 0]
        self._learning = np.where(self._legal, held[None, :] - held[:, None], 0)
        self._bytes = [problem.crossing_bytes(ideal) for ideal in lattice.ideals]
        self._stages: dict[Fraction, Integers] = {}

    @functools.cache  # noqa: B019 - as long as the tables are there
    def stage(self, first: int, ranks: int) -> Integers:
        """Return the times of stages on ``ranks`` ranks from ``first`` on."""
        factor = max(self._network.factors[first : first + ranks])
        whole = self._costs(self._network.factors.index(factor), factor)
        if ranks > 1:
            whole = whole + _times(self._network.all_reduces[first, ranks], self._learning)
        if int(whole[self._legal].max()) * self.scale >= int(UNREACHABLE):
            raise OptimizerError(
                f"{self._network.size} ranks are too many to compare replicas exactly in 64 bits; measure fewer ranks"
            )
        return np.where(self._legal, whole * (self.scale // ranks), UNREACHABLE)

    @functools.cache  # noqa: B019 - likewise
    def cut(self, used: int, before: int, behind: int) -> Integers:
        """Return the times of a cut behind ``used`` ranks, of which ``before`` have the stage before it."""
        first = used - before
        alone = [1] * first + [before, behind] + [1] * (self._network.size - used - behind)
        merged = self._network.merged(alone)
        busy = [max(direction.busy_ns for direction in merged.messages(first, *both)) for both in self._bytes]
        return np.array(busy, dtype=np.int64) * (self.scale // min(before, behind))

    def _costs(self, rank: int, factor: Fraction) -> Integers:
        """Return cost(J, I) on a rank, by pair of ideals."""
        if factor not in self._stages:
            costs = self._network.costs_at(rank, self._problem.costs)
            work, saving = sums(self._lattice, np.array([costs.weight_ns, costs.saving_ns], dtype=np.int64).T).T
            crossing = [costs.crossing(ideal) for ideal in self._lattice.ideals]
            down = np.array([sum(value.copy_output_ns for value in values) for values in crossing])
            up = np.array([sum(value.copy_gradient_ns for value in values) for values in crossing])
            whole = (work + down)[None, :] - (work - up)[:, None]
            whole[:, -1] += costs.loss_ns - (saving[-1] - saving)
            self._stages[factor] = whole
        return self._stages[factor]


def _times(direction: Direction, sizes: Integers) -> Integers:
    """Return what all-reduces of some sizes take, each size worked out once."""
    distinct, places = np.unique(sizes, return_inverse=True)
    times = np.array([direction.message(int(size)).whole_ns for size in distinct], dtype=np.int64)
    return times[places].reshape(sizes.shape)
