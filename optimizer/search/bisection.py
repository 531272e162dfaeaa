"""Find the smallest bottleneck over all ideals, and which cuts can take part in it.

Can s stages of at most B each make up ideal I? Since a stage's cost is a difference of two potentials,

    cost(J, I) ≤ B   ⇔   key(I) − B ≤ height(J),    key = work + down,  height = work − up,

(both less saving for the last stage),

it can if the highest J ⊂ I that s − 1 stages can make up is high enough. The highest J below each ideal is found by one
pass up the lattice: highest(I) = max over ideals directly below. So one B takes O(S·|steps|), and the smallest B is
found by bisection over integers, where comparing all pairs of ideals would take O(S·|ideals|²). The same pass downwards
tells which ideals s stages can finish from. What lies on both is all that a split of bottleneck B can be cut at.

A forced cut is alone on its level, and nothing below it can be seen from above.

A limit on memory is one more pair of potentials, another one at each stage, once the transient is left out. With two
limits J may differ from one to the other, so what is found is then necessary and not sufficient: the smallest B is a
lower bound, and the cuts are all that take part and some that do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from optimizer.search.lattice import Booleans, Integers, Lattice, Positions

LOWEST = np.int64(-(1 << 62))


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit that no stage may exceed: ``key[s](I) − height[s](J) ≤ limit`` for stage s from J to I."""

    key: Sequence[Integers]
    height: Sequence[Integers]
    limit: int


@dataclass(frozen=True, slots=True)
class Reachable:
    """``begun[s][I]``: s stages can make up I; ``finished[s][I]``: s stages can finish from I."""

    begun: Sequence[Booleans]
    finished: Sequence[Booleans]

    def at_cut(self, cut: int) -> Positions:
        """Return the positions of the ideals that can stand at ``cut``, where ``begun`` counts the stages before."""
        positions: Positions = np.flatnonzero(self.begun[cut] & self.finished[len(self.begun) - 1 - cut])
        return positions


def time_bound(lattice: Lattice, stages: int, limit: int) -> Bound:
    """Return the bound that no stage costs more than ``limit`` nanoseconds."""
    return Bound(*time_potentials(lattice, stages, lattice.work_ns), limit)


def time_potentials(lattice: Lattice, stages: int, work_ns: Integers) -> tuple[list[Integers], list[Integers]]:
    """Return ``key`` and ``height`` of each stage for its time; the last one updates in place."""
    key, height = work_ns + lattice.down_ns, work_ns - lattice.up_ns
    before = stages - 1
    return [key] * before + [key - lattice.saving_ns], [height] * before + [height - lattice.saving_ns]


def smallest(lattice: Lattice, bound: Bound, low: int, others: Sequence[Bound] = ()) -> int | None:
    """Return the smallest limit from ``low`` to that of ``bound`` that some split keeps, or None if none keeps any."""
    high = bound.limit

    def kept(limit: int) -> bool:
        return bool(_begun(lattice, [replace(bound, limit=limit), *others])[-1][-1])

    if not kept(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if kept(middle) else (middle + 1, high)
    return low


def reachable(lattice: Lattice, bounds: Sequence[Bound]) -> Reachable:
    """Return what stages within all ``bounds`` can make up and finish."""
    return Reachable(begun=_begun(lattice, bounds), finished=_finished(lattice, bounds))


def _begun(lattice: Lattice, bounds: Sequence[Bound]) -> list[Booleans]:
    begun = [np.arange(len(lattice)) == 0]
    for stage in range(len(bounds[0].key)):
        made = np.ones(len(lattice), dtype=bool)
        for bound in bounds:
            highest = highest_below(lattice, np.where(begun[-1], bound.height[stage], LOWEST))
            made &= highest >= bound.key[stage] - bound.limit
        begun.append(made)
    return begun


def _finished(lattice: Lattice, bounds: Sequence[Bound]) -> list[Booleans]:
    finished = [np.arange(len(lattice)) == len(lattice) - 1]
    for stage in reversed(range(len(bounds[0].key))):
        made = np.ones(len(lattice), dtype=bool)
        for bound in bounds:
            lowest = lowest_above(lattice, np.where(finished[-1], bound.key[stage] - bound.limit, -LOWEST))
            made &= lowest <= bound.height[stage]
        finished.append(made)
    return finished


def highest_below(lattice: Lattice, values: Integers) -> Integers:
    """Return for each ideal the largest of ``values`` among the ideals below it that a stage could begin at."""
    result = np.full(len(lattice), LOWEST)
    if lattice.is_chain:
        for start, end in pairwise([0, *lattice.forced, len(lattice) - 1]):
            result[start + 1 : end + 1] = np.maximum.accumulate(values[start:end])
        return result
    carry = values.copy()
    for start, end in pairwise(lattice.levels[1:]):
        first, last = lattice.steps[start], lattice.steps[end]
        best = np.maximum.reduceat(carry[lattice.below[first:last]], lattice.steps[start:end] - first)
        result[start:end] = best
        if start not in lattice.forced:
            np.maximum(best, values[start:end], out=carry[start:end])
    return result


def lowest_above(lattice: Lattice, values: Integers) -> Integers:
    """Return for each ideal the smallest of ``values`` among the ideals above it that a stage could end at."""
    result = np.full(len(lattice), -LOWEST)
    if lattice.is_chain:
        for start, end in pairwise([0, *lattice.forced, len(lattice) - 1]):
            result[start:end] = np.minimum.accumulate(values[end:start:-1])[::-1]
        return result
    for start, end in reversed(list(pairwise(lattice.levels[1:]))):
        here = values[start:end] if start in lattice.forced else np.minimum(result[start:end], values[start:end])
        first, last = lattice.steps[start], lattice.steps[end]
        counts = np.diff(lattice.steps[start : end + 1])
        np.minimum.at(result, lattice.below[first:last], np.repeat(here, counts))
    return result
