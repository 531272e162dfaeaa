"""Find the smallest bottleneck over all ideals, and which cuts can take part in it.

Can s stages of at most B each make up ideal I? Since a stage's cost is a difference of two potentials,

    cost(J, I) ≤ B   ⇔   key(I) − B ≤ height(J),    key = work + down,  height = work − up,

it can if the highest J ⊂ I that s − 1 stages can make up is high enough. The highest J below each ideal is found by one
pass up the lattice, for all s at once: highest(I, s) = max over ideals directly below. So one B takes O(S·|steps|), and
the smallest B is found by bisection over integers, where comparing all pairs of ideals would take O(S·|ideals|²). The
same pass downwards tells which ideals s stages can finish from. What lies on both is all that a split of bottleneck B
can be cut at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from optimizer.lattice import Integers, Lattice

Booleans = NDArray[np.bool_]
LOWEST = np.int64(-(1 << 62))


@dataclass(frozen=True, slots=True)
class Reach:
    """``begun[I, s]``: s stages of at most B can make up I; ``finished[I, s]``: s stages can finish from I."""

    begun: Booleans
    finished: Booleans

    def at_cut(self, cut: int) -> NDArray[np.int64]:
        """Return the positions of the ideals that can stand at ``cut``, where ``begun`` counts the stages before."""
        stages = self.begun.shape[1] - 1
        found: NDArray[np.int64] = np.flatnonzero(self.begun[:, cut] & self.finished[:, stages - cut])
        return found


def smallest_bottleneck(found: Lattice, stages: int, low: int, high: int) -> int | None:
    """Return the smallest B in [``low``, ``high``] that ``stages`` stages can keep, or None if they cannot keep any."""
    key, height = found.work_ns + found.down_ns, found.work_ns - found.up_ns
    if not _begun(found, key - high, height, stages)[-1, stages]:
        return None
    while low < high:
        middle = (low + high) // 2
        if _begun(found, key - middle, height, stages)[-1, stages]:
            high = middle
        else:
            low = middle + 1
    return low


def reach(found: Lattice, stages: int, bottleneck: int) -> Reach:
    """Return what stages of at most ``bottleneck`` can make up and finish."""
    key, height = found.work_ns + found.down_ns, found.work_ns - found.up_ns
    return Reach(
        begun=_begun(found, key - bottleneck, height, stages),
        finished=_finished(found, key - bottleneck, height, stages),
    )


def _begun(found: Lattice, needed: Integers, height: Integers, stages: int) -> Booleans:
    highest = np.full((len(found), stages + 1), LOWEST)
    begun = np.zeros((len(found), stages + 1), dtype=bool)
    highest[0, 0], begun[0, 0] = height[0], True
    for start, end in _levels(found.levels[1:]):
        first, last = found.steps[start], found.steps[end]
        below = np.maximum.reduceat(highest[found.below[first:last]], found.steps[start:end] - first, axis=0)
        made = below[:, :-1] >= needed[start:end, None]
        begun[start:end, 1:] = made
        np.maximum(below[:, 1:], np.where(made, height[start:end, None], LOWEST), out=highest[start:end, 1:])
        highest[start:end, 0] = below[:, 0]
    return begun


def _finished(found: Lattice, needed: Integers, height: Integers, stages: int) -> Booleans:
    """As ``_begun`` from V downwards: the lowest need above each ideal decides."""
    lowest = np.full((len(found), stages + 1), -LOWEST)
    finished = np.zeros((len(found), stages + 1), dtype=bool)
    lowest[-1, 0], finished[-1, 0] = needed[-1], True
    for start, end in reversed(_levels(found.levels[1:])):
        above = lowest[start:end]
        if end < len(found):
            made = above[:, :-1] <= height[start:end, None]
            finished[start:end, 1:] = made
            above[:, 1:] = np.minimum(above[:, 1:], np.where(made, needed[start:end, None], -LOWEST))
        first, last = found.steps[start], found.steps[end]
        counts = np.diff(found.steps[start : end + 1])
        np.minimum.at(lowest, found.below[first:last], np.repeat(above, counts, axis=0))
    finished[0, 1:] = lowest[0, :-1] <= height[0]
    return finished


def _levels(starts: Sequence[int]) -> list[tuple[int, int]]:
    return list(pairwise(starts))
