"""The lattice of all ideals of a layer graph: what can stand before a cut, and what each cut costs.

An ideal (downset) I of a directed acyclic graph contains every predecessor of each of its members. A pipeline's cuts
are a chain of ideals ∅ ⊂ I₁ ⊂ … ⊂ V, so the set of all ideals is the search space of the exact planner. They form a
distributive lattice; I with block b stands directly above I when b may be added to it. Enumerating goes up level by
level, a block at a time, and carries along which blocks may come next and which values cross, so an ideal costs only
what changes: O(|steps|) set operations, where steps are the pairs of neighbours.

For ideals J ⊂ I the stage I∖J costs work(I) + down(I) − work(J) + up(J): work is a sum over layers (and the loss at V),
down what sending the values that cross behind I takes, up what sending their gradients back takes. The last stage,
I = V, costs saving(V) − saving(J) less.

A set of layers is a Python integer whose bit i stands for layer i in captured order.
Source: Tarnawski et al., "Efficient Algorithms for Device Placement of DNN Graph Operators", NeurIPS 2020, section 5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from optimizer.costs import Problem, last_of, members_of, prefixes

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
Floats = NDArray[np.float32]
Positions = NDArray[np.int64]
LIMIT = 600_000
"""So many ideals are enumerated at most: about half a gigabyte, and half a minute."""
MOST_STEPS, MOST_BYTES = 6_000_000, 1 << 28
"""Steps between neighbours, made or still to be made, and bytes of all sets of layers; wide graphs have more."""
CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Lattice:
    """All ideals, ∅ first and V last, level by level: an ideal's level is how many blocks it holds.

    Attributes:
        ideals: Sets of layers.
        levels: Where each level starts, and at last how many ideals there are.
        below: For each step up the lattice, the position of the ideal below; steps are sorted by the one above.
        steps: Where the steps up to each ideal start in ``below``, and at last how many there are.
        work_ns: Sum of the layers' forward, backward and update; with the loss at V.
        saving_ns: Sum of what the layers' updates take less in place.
        down_ns: Sending the values that cross the cut behind the ideal.
        up_ns: Sending their gradients back.
        cut_bytes: Both in bytes.
        forced: The positions of ideals that have to be among the cuts, ascending; each is alone on its level.
    """

    ideals: Sequence[int]
    levels: Sequence[int]
    below: NDArray[np.int32]
    steps: NDArray[np.int64]
    work_ns: Integers
    saving_ns: Integers
    down_ns: Integers
    up_ns: Integers
    cut_bytes: Integers
    forced: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.ideals)

    @property
    def is_chain(self) -> bool:
        """Whether every level holds one ideal."""
        return len(self.levels) > len(self.ideals)


@dataclass(slots=True)
class _Cut:
    """What crosses behind an ideal, and which blocks may come next."""

    work_ns: int
    saving_ns: int
    down_ns: int
    up_ns: int
    size: int
    free: tuple[int, ...]


def lattice(problem: Problem, limit: int = LIMIT) -> Lattice | None:
    """Return the lattice of the problem's blocks, or None if it has more than ``limit`` ideals, or is too wide."""
    growth = _Growth(problem)
    ideals, position_of = [0], {0: 0}
    cuts = [growth.nothing]
    levels, below, above = [0], [], []
    start, counted, waiting, width = 0, 1, len(growth.nothing.free), -(-len(problem.costs.layers) // 8)
    while start < len(ideals):
        end = len(ideals)
        levels.append(end)
        for position in range(start, end):
            ideal, cut = ideals[position], cuts[position]
            for block in cut.free:
                grown = ideal | growth.members[block]
                place = position_of.get(grown)
                if place is None:
                    place = position_of[grown] = len(ideals)
                    ideals.append(grown)
                    cuts.append(growth.add(cut, grown, block))
                below.append(position)
                above.append(place)
            waiting += sum(len(fresh.free) for fresh in cuts[counted:]) - len(cut.free)
            cut.free, counted = (), len(cuts)
            if len(ideals) > limit or len(below) + waiting > MOST_STEPS or len(ideals) * width > MOST_BYTES:
                return None
        start = end
    order = np.argsort(np.array(above, dtype=np.int64), kind="stable")
    counts = np.bincount(np.array(above, dtype=np.int64), minlength=len(ideals))
    return Lattice(
        ideals=ideals,
        levels=levels,
        below=np.array(below, dtype=np.int32)[order],
        steps=np.concatenate([[0], np.cumsum(counts)]),
        work_ns=np.array([cut.work_ns for cut in cuts], dtype=np.int64),
        saving_ns=np.array([cut.saving_ns for cut in cuts], dtype=np.int64),
        down_ns=np.array([cut.down_ns for cut in cuts], dtype=np.int64),
        up_ns=np.array([cut.up_ns for cut in cuts], dtype=np.int64),
        cut_bytes=np.array([cut.size for cut in cuts], dtype=np.int64),
        forced=[position_of[ideal] for ideal in problem.forced],
    )


def along_captured_order(problem: Problem) -> Lattice:
    """Return only the ideals of the form "the first k layers in captured order", as a lattice that is a chain.

    Forced cuts belong to it whatever their form, and prefixes that do not go with them do not.
    """
    costs = problem.costs
    every = {*prefixes(costs.parts, len(costs.layers)), *problem.forced}
    ideals = sorted(
        (ideal for ideal in every if all(ideal & ~cut == 0 or cut & ~ideal == 0 for cut in problem.forced)),
        key=int.bit_count,
    )
    weight_ns = costs.weight_ns
    steps_ns = [sum(weight_ns[at] for at in members_of(new & ~old)) for old, new in pairwise(ideals)]
    steps_ns[-1] += costs.loss_ns
    savings_ns = [sum(costs.saving_ns[at] for at in members_of(new & ~old)) for old, new in pairwise(ideals)]
    down_ns, up_ns, cut_bytes = _crossing(problem, ideals)
    return Lattice(
        ideals=ideals,
        levels=range(len(ideals) + 1),
        below=np.arange(len(ideals) - 1, dtype=np.int32),
        steps=np.array([0, *range(len(ideals))]),
        work_ns=np.array([0, *accumulate(steps_ns)], dtype=np.int64),
        saving_ns=np.array([0, *accumulate(savings_ns)], dtype=np.int64),
        down_ns=down_ns,
        up_ns=up_ns,
        cut_bytes=cut_bytes,
        forced=[ideals.index(ideal) for ideal in problem.forced],
    )


def _crossing(problem: Problem, ideals: Sequence[int]) -> tuple[Integers, Integers, Integers]:
    """Return what crosses behind each ideal of a chain, down and up in nanoseconds and both in bytes.

    A value crosses from the ideal that its maker is in first up to the one that its last reader is in.
    """
    first = [0] * (len(problem.costs.layers) + 1)
    for place, (old, new) in enumerate(pairwise(ideals), 1):
        for at in members_of(new & ~old):
            first[at] = place
    first[-1] = len(ideals)  # the loss, behind everything
    changes = np.zeros((3, len(ideals) + 1), dtype=np.int64)
    for value in problem.costs.values:
        start = first[last_of(value.maker)] if value.maker else 1
        end = max((first[at] for at in members_of(value.readers)), default=start)
        if start < end:
            amounts = value.copy_output_ns, value.copy_gradient_ns, value.output_bytes + value.gradient_bytes
            changes[:, start] += amounts
            changes[:, end] -= amounts
    crossing = np.cumsum(changes, axis=1)[:, : len(ideals)]
    crossing[:, [0, -1]] = 0
    return crossing[0], crossing[1], crossing[2]


class _Growth:
    """How an ideal's cut changes when a block is added."""

    def __init__(self, problem: Problem) -> None:
        costs, parts = problem.costs, problem.parts
        self._everything, self._values = costs.everything, costs.values
        self._loss_ns = costs.loss_ns
        self.members = [members for members, _ in parts]
        self._needs = [needs for _, needs in parts]
        self._work_ns = costs.parts_ns
        self._saving_ns = [sum(costs.saving_ns[at] for at in members_of(members)) for members in self.members]
        home = {at: block for block, members in enumerate(self.members) for at in members_of(members)}
        self._followers: list[list[int]] = [[] for _ in self.members]
        for block, needs in enumerate(self._needs):
            for before in {home[at] for at in members_of(needs)}:
                self._followers[before].append(block)
        self._made: list[list[int]] = [[] for _ in self.members]
        self._read: list[list[int]] = [[] for _ in self.members]
        for number, value in enumerate(self._values):
            if value.maker:
                self._made[home[value.maker.bit_length() - 1]].append(number)
            for block in {home[at] for at in members_of(value.readers & self._everything)}:
                self._read[block].append(number)
        free = tuple(block for block, needs in enumerate(self._needs) if not needs)
        entering = [value for value in self._values if not value.maker and value.readers]
        self.nothing = _Cut(0, 0, 0, 0, 0, free)
        self._entering = (
            sum(value.copy_output_ns for value in entering),
            sum(value.copy_gradient_ns for value in entering),
            sum(value.output_bytes + value.gradient_bytes for value in entering),
        )

    def add(self, cut: _Cut, grown: int, block: int) -> _Cut:
        """Return the cut behind ``grown``, which is what ``cut`` was behind and ``block``."""
        before = grown & ~self.members[block]
        down_ns, up_ns, size = (cut.down_ns, cut.up_ns, cut.size) if before else self._entering
        for number in {*self._made[block], *self._read[block]}:
            value = self._values[number]
            crossed = value.maker & ~before == 0 and value.readers & ~before != 0
            crosses = value.maker & ~grown == 0 and value.readers & ~grown != 0
            sign = int(crosses) - int(crossed)
            down_ns += sign * value.copy_output_ns
            up_ns += sign * value.copy_gradient_ns
            size += sign * (value.output_bytes + value.gradient_bytes)
        work_ns, saving_ns = cut.work_ns + self._work_ns[block], cut.saving_ns + self._saving_ns[block]
        if grown == self._everything:
            return _Cut(work_ns + self._loss_ns, saving_ns, 0, 0, 0, ())
        added = [follower for follower in self._followers[block] if self._needs[follower] & ~grown == 0]
        return _Cut(
            work_ns, saving_ns, down_ns, up_ns, size, (*(other for other in cut.free if other != block), *added)
        )


def comparable(lattice: Lattice, before: Positions, through: Positions) -> Booleans:
    """Return for each pair of ideals, ``[before, through]``, whether J ⊂ I and no forced cut lies in between."""
    inner, outer = members(lattice, before), members(lattice, through)
    outside = product(inner, (1 - outer).T)
    sizes = inner.sum(axis=1)[:, None] < outer.sum(axis=1)[None, :]
    passed = (
        np.searchsorted(lattice.forced, through, side="left"),
        np.searchsorted(lattice.forced, before, side="right"),
    )
    legal: Booleans = (outside == 0) & sizes & (passed[0][None, :] <= passed[1][:, None])
    return legal


def product(first: Floats, second: Floats) -> Floats:
    """Return the matrix product of small whole numbers, which is exact in floats, and quick.

    Some kernels of BLAS compute lanes that nobody reads, and warn of what is in them.
    """
    with np.errstate(all="ignore"):
        return np.asarray(first @ second)


def members(lattice: Lattice, positions: Positions) -> Floats:
    """Return a row of zeros and ones for each ideal."""
    width = -(-lattice.ideals[-1].bit_length() // 8)
    packed = b"".join(lattice.ideals[at].to_bytes(width, "little") for at in positions)
    bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8).reshape(-1, width), axis=1, bitorder="little")
    return bits[:, : lattice.ideals[-1].bit_length()].astype(np.float32)


def sums(lattice: Lattice, weights: Integers) -> Integers:
    """Return for each ideal the sums over its layers of ``weights``, ``[layer, kind]``: ``[ideal, kind]``."""
    chunks = [np.arange(start, min(start + CHUNK, len(lattice))) for start in range(0, len(lattice), CHUNK)]
    return np.concatenate([members(lattice, chunk).astype(np.int64) @ weights for chunk in chunks])
