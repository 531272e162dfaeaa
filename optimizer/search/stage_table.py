"""What every stage between two candidates costs and needs: the matrices that the search compares.

Row j, column i: the stage of the layers I∖J. What stands before each candidate is a row of sums over its layers, and
what crosses behind it two terms, down and up. So a stage's time is a difference of rows and two terms of cuts,

    cost[j, i] = work(I) − work(J) + down(I) + up(J)

with the layers' weights in that stage (in the last one updates are in place under ``1f1b``); and its memory likewise.
Where there may be no such stage, the entry is ``NEVER``: J ⊄ I, or a forced cut lies in between.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from optimizer.costs import Costs, Problem, members_of

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
Floats = NDArray[np.float32]
NEVER = np.int64(1) << 62
"""Larger than any cost, and small enough that two of it do not overflow when one is added to a cost."""


class StageTable:
    """The stages between each two of some ideals, ∅ first and V last."""

    def __init__(self, problem: Problem, ideals: Sequence[int]) -> None:
        """Compare ``ideals``, in rank order, in pairs."""
        self._problem, self.ideals = problem, ideals
        self._members = _members(ideals, len(problem.costs.layers))
        self._crossing = _crossing(problem.costs, self._members)
        self._kept: dict[tuple[str, int], tuple[Integers, Integers]] = {}

    def time_ns(self, stage: int) -> Integers:
        """Return what a stage costs, in nanoseconds."""
        last = stage == self._problem.stages - 1
        key = "time", int(last)
        if key not in self._kept:
            self._kept[key] = self._time_keys(last=last)
        return self.differences(*self._kept[key])

    def _time_keys(self, *, last: bool) -> tuple[Integers, Integers]:
        costs = self._problem.costs
        work = self.sums(costs.weights_ns(last=last))
        work[-1] += costs.loss_ns
        down, up = (np.array([costs.sending_ns(int(size)) for size in sizes]) for sizes in self._bytes)
        return work + down, work - up

    def memory_bytes(self, stage: int) -> Integers:
        """Return what a stage needs, in bytes."""
        if ("memory", stage) not in self._kept:
            factor, costs = self._problem.factors[stage], self._problem.costs
            held = factor.held_bytes(*self.sums([costs.bytes_of((at,)) for at in range(len(costs.layers))]).T)
            behind, before = (factor.slot_bytes(*self._bytes, slots) for slots in (factor.behind, factor.before))
            self._kept["memory", stage] = held + behind, held - before
        needed = self.differences(*self._kept["memory", stage])
        return np.where(needed < NEVER, needed + self._problem.costs.heap_bytes, NEVER)

    @cached_property
    def _bytes(self) -> tuple[Integers, Integers]:
        """What crosses behind each candidate, down and up."""
        amounts = [(value.output_bytes, value.gradient_bytes) for value in self._problem.costs.values]
        down, up = (self._crossing @ np.array(amounts, dtype=np.int64)).T
        return down, up

    def sums(self, weights: Sequence[int] | Sequence[Sequence[int]]) -> Integers:
        """Return for each candidate the sum of its layers' weights, or of each kind of these."""
        return self._members.astype(np.int64) @ np.array(weights, dtype=np.int64)

    def differences(self, keys: Integers, heights: Integers) -> Integers:
        """Return ``key(I) − height(J)`` of each pair; ``NEVER`` where there may be no such stage."""
        return np.where(self._legal, keys[None, :] - heights[:, None], NEVER)

    @cached_property
    def _legal(self) -> Booleans:
        """Whether J ⊂ I, and no forced cut lies in between."""
        sizes = self._members.sum(axis=1)
        legal = (_product(self._members, 1 - self._members.T) == 0) & (sizes[:, None] < sizes[None, :])
        forced = [cut.bit_count() for cut in self._problem.forced]  # all candidates hold them, or lie in them
        passed, met = (np.searchsorted(forced, sizes, side=side) for side in ("left", "right"))
        return np.asarray(legal & (passed[None, :] <= met[:, None]))


def bottleneck_ns(problem: Problem, bounds: Sequence[int]) -> int:
    """Return what the slowest stage of a split costs."""
    table = StageTable(problem, bounds)
    return max(int(table.time_ns(stage)[stage, stage + 1]) for stage in range(problem.stages))


def _members(ideals: Sequence[int], layers: int) -> Floats:
    """Return a row of zeros and ones for each ideal."""
    width = -(-layers // 8)
    packed = b"".join(ideal.to_bytes(width, "little") for ideal in ideals)
    bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8).reshape(-1, width), axis=1, bitorder="little")
    return bits[:, :layers].astype(np.float32)


def _crossing(costs: Costs, members: Floats) -> Integers:
    """Return which values cross behind each ideal, ``[ideal, value]``: made in it, read outside; none at the ends."""
    layers = len(costs.layers)
    made, unread = np.ones((2, len(members), len(costs.values)), dtype=bool)
    for number, value in enumerate(costs.values):
        if value.maker:
            made[:, number] = members[:, value.maker.bit_length() - 1] > 0
        inside = [at for at in members_of(value.readers) if at < layers]
        unread[:, number] = members[:, inside].sum(axis=1) < value.readers.bit_count()  # the loss is in none
    crossing = (made & unread).astype(np.int64)
    crossing[[0, -1]] = 0
    return crossing


def _product(first: Floats, second: Floats) -> Floats:
    """Return the matrix product of small whole numbers, which is exact in floats, and quick.

    Some kernels of BLAS compute lanes that nobody reads, and warn of what is in them.
    """
    with np.errstate(all="ignore"):
        return np.asarray(first @ second)
