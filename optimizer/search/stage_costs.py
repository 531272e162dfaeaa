"""Cost and memory of every stage between two candidate cuts: the matrices that the search compares.

For candidates of neighbouring cuts, ``[before, through]``: the cost in nanoseconds and the memory in bytes of the stage
between them, and whether there may be such a stage. Time and memory are differences of potentials; only the largest
transient is not. It is at least t where more layers of transient t and above lie in I than in J, so a pass over the
distinct transients finds it for all pairs.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from optimizer.costs import Problem
from optimizer.search.bisection import Bound, time_potentials
from optimizer.search.lattice import Booleans, Integers, Lattice, Positions, comparable, members, product, sums

NEVER = np.int64(1) << 62
"""Larger than any cost, and small enough that two of it do not overflow when one is added to a cost."""


class StageCosts:
    """The candidates of every cut, and the pairs of neighbouring ones that a stage may lie between."""

    def __init__(self, problem: Problem, lattice: Lattice, cuts: Sequence[Positions]) -> None:
        """Compare the candidates ``cuts``, in rank order, in pairs; the ends are ∅ and V."""
        self.lattice, self.problem, self.cuts = lattice, problem, cuts
        ends = np.array([0]), np.array([len(lattice) - 1])
        self.bounds: Sequence[Positions] = [ends[0], *cuts, ends[1]]
        compared: dict[tuple[int, int], Booleans] = {}
        self.legal: list[Booleans] = []
        for before, through in pairwise(self.bounds):
            pair = id(before), id(through)
            if pair not in compared:
                compared[pair] = comparable(lattice, before, through)
            self.legal.append(compared[pair])
        limit = problem.memory_limit_bytes
        if limit is not None:
            self.legal = [
                legal & (needed <= limit) for legal, needed in zip(self.legal, self.memory_bytes(), strict=True)
            ]

    def costs_ns(self) -> list[Integers]:
        """Return each stage's costs; ``NEVER`` where there may be no such stage."""
        return self.differences(*time_potentials(self.lattice, self.problem.stages, self.lattice.work_ns))

    def differences(self, keys: Sequence[Integers], heights: Sequence[Integers]) -> list[Integers]:
        """Return ``key(I) − height(J)`` for each stage's pairs; ``NEVER`` where there may be no such stage."""
        return [
            np.where(legal, key[through][None, :] - height[before][:, None], NEVER)
            for legal, key, height, (before, through) in zip(
                self.legal, keys, heights, pairwise(self.bounds), strict=True
            )
        ]

    def bounds_at(self, places: Sequence[int]) -> tuple[int, ...]:
        """Return the split whose cuts are the candidates at ``places``, with both ends."""
        inner = [self.lattice.ideals[cut[place]] for cut, place in zip(self.cuts, places, strict=True)]
        return 0, *inner, self.lattice.ideals[-1]

    def cut_bytes(self) -> list[Integers]:
        """Return what crosses each cut, by candidate."""
        return [self.lattice.cut_bytes[cut] for cut in self.cuts]

    def memory_bytes(self) -> list[Integers]:
        """Return what each stage needs, by pair; without meaning where J ⊂ I is not."""
        bound = memory_bound(self.problem, self.lattice, 0)
        needed = []
        for stage, (before, through) in enumerate(pairwise(self.bounds)):
            held = bound.key[stage][through][None, :] - bound.height[stage][before][:, None]
            transients = largest_transients(self.problem, self.lattice, before, through)
            needed.append(held + transients + self.problem.costs.heap_bytes)
        return needed


def largest_transients(problem: Problem, lattice: Lattice, before: Positions, through: Positions) -> Integers:
    """Return the largest transient of the layers between two ideals, ``[before, through]``."""
    transients = np.array([layer.transient_bytes for layer in problem.costs.layers])
    levels = np.unique(transients)
    holds = (transients[:, None] >= levels[None, :]).astype(np.float32)
    inner, outer = (product(members(lattice, positions), holds) for positions in (before, through))
    largest = np.zeros((len(before), len(through)), dtype=np.int64)
    for number, level in enumerate(levels):
        largest[outer[:, number][None, :] > inner[:, number][:, None]] = level
    return largest


def held_bytes(problem: Problem, lattice: Lattice) -> Integers:
    """Return what each ideal's layers hold: frozen, learning, saved but for casts, and casts, ``[ideal, kind]``."""
    weights = [
        [
            layer.parameter_bytes - layer.learning_bytes,
            layer.learning_bytes,
            layer.saved_bytes - layer.cast_bytes,
            layer.cast_bytes,
        ]
        for layer in problem.costs.layers
    ]
    return sums(lattice, np.array(weights, dtype=np.int64))


def memory_bound(problem: Problem, lattice: Lattice, limit: int) -> Bound:
    """Return the bound that no stage needs more than ``limit`` bytes, transients left out."""
    held = held_bytes(problem, lattice)
    key, height = [], []
    for factor in problem.factors:
        whole = held @ np.array([1, factor.learning, factor.saved, factor.casts])
        key.append(whole + lattice.cut_bytes * factor.behind)
        height.append(whole - lattice.cut_bytes * factor.before)
    return Bound(key, height, limit)
