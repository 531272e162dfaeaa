"""Show that no legal split stays below a bottleneck, with code that shares nothing with the search.

It goes down from V, a block at a time, with plain integers. E(k) holds the ideals that k stages below B finish from,

    J ∈ E(k + 1)  ⇔  min { work(I) + down(I) : I ∈ E(k), I ⊃ J } − (work(J) − up(J)) < B,

where of the last stage, I = V, what updates take less in place is taken off both sides. A legal split below B exists
exactly if ∅ ∈ E(S). Under a limit on memory that is only necessary; where it does not settle the matter, all pairs J
⊂ I are compared.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import networkx as nx

from optimizer.check.pricing import Words
from optimizer.plan import Plan

MOST_IDEALS, MOST_PAIRED = 400_000, 1_500
MOST_WIDTH = 5_000_000
"""So many maximal blocks and crossing values the ideals of one level may have, all together."""
INFINITE = float("inf")


class _TooManyError(Exception):
    """There are more ideals than can be looked at."""


@dataclass(frozen=True, slots=True)
class _Ideal:
    """A set of blocks, a bit each.

    Attributes:
        maximal: The blocks that none of the others needs.
        work_ns: Its layers' time; likewise their bytes by kind.
        saving_ns: What their updates take less in place.
        crossing: The values that cross the cut behind it.
    """

    blocks: int
    maximal: tuple[int, ...]
    work_ns: int
    saving_ns: int
    fixed_bytes: int
    learning_bytes: int
    saved_bytes: int
    cast_bytes: int
    crossing: frozenset[str]


class Downwards:
    """The ideals from V down, and which of them a split of so many quick stages can finish from.

    Attributes:
        seen: How many ideals were looked at.
        reason: Why it could not be told whether there is a split, if so.
    """

    def __init__(self, plan: Plan, words: Words) -> None:
        """Prepare to look for splits that keep the limits of ``plan``."""
        self._plan, self._words = plan, words
        self.seen, self.reason = 0, f"there are more than {MOST_IDEALS:,} ideals, or they are too wide"
        self._most = MOST_IDEALS
        graph = nx.condensation(words.glued())
        self._blocks: list[set[str]] = [graph.nodes[node]["members"] for node in graph]
        self._followers = [sum(1 << after for after in graph.successors(node)) for node in graph]
        self._needs = [list(graph.predecessors(node)) for node in graph]
        self._reads = [{value for value, readers in words.readers.items() if readers & block} for block in self._blocks]
        forced = [words.needed(names) for names in plan.cut_after]
        self._forced = [sum(1 << at for at, block in enumerate(self._blocks) if block <= ideal) for ideal in forced]

    def some_split_is_below(self, bound_ns: int) -> bool | None:
        """Say whether a legal split has all stages below ``bound_ns``; None if that would take too long."""
        try:
            starts = self._finishing(bound_ns)
            if not starts or self._plan.memory_limit_bytes is None:
                return starts
            self.reason = f"under a limit on memory all pairs of ideals are compared, of at most {MOST_PAIRED:,}"
            self.seen, self._most = 0, MOST_PAIRED
            return self._pairs(bound_ns)
        except _TooManyError:
            return None

    def _levels(self) -> Iterator[dict[int, _Ideal]]:
        """Yield the ideals with every number of blocks, from all blocks down to none."""
        layers = self._words.layers
        level = {
            (1 << len(self._blocks)) - 1: _Ideal(
                blocks=(1 << len(self._blocks)) - 1,
                maximal=tuple(at for at, after in enumerate(self._followers) if not after),
                work_ns=sum(self._words.work_ns.values()),
                saving_ns=sum(self._words.saving_ns.values()),
                fixed_bytes=sum(layer.parameter_bytes for layer in layers.values()),
                learning_bytes=sum(layer.learning_bytes for layer in layers.values()),
                saved_bytes=sum(layer.saved_bytes for layer in layers.values()),
                cast_bytes=sum(layer.cast_bytes for layer in layers.values()),
                crossing=frozenset(self._words.model.outputs),
            )
        }
        while level:
            self.seen += len(level)
            yield level
            below: dict[int, _Ideal] = {}
            width = 0
            for ideal in level.values():
                if self.seen + len(below) > self._most or width > MOST_WIDTH:
                    raise _TooManyError
                for at in ideal.maximal:
                    smaller = ideal.blocks & ~(1 << at)
                    if smaller not in below and self._goes_with_forced(smaller):
                        below[smaller] = self._without(ideal, at)
                        width += len(below[smaller].maximal) + len(below[smaller].crossing)
            level = below

    def _goes_with_forced(self, blocks: int) -> bool:
        return all(blocks & ~cut == 0 or cut & ~blocks == 0 for cut in self._forced)

    def _without(self, ideal: _Ideal, at: int) -> _Ideal:
        """Return what is left of an ideal without a block: what the block read now crosses, what it made no more."""
        words, block = self._words, self._blocks[at]
        layers = [words.layers[name] for name in block]
        blocks = ideal.blocks & ~(1 << at)
        freed = (block for block in self._needs[at] if not self._followers[block] & blocks)
        return _Ideal(
            blocks=blocks,
            maximal=(*(block for block in ideal.maximal if block != at), *freed),
            work_ns=ideal.work_ns - sum(words.work_ns[name] for name in block),
            saving_ns=ideal.saving_ns - sum(words.saving_ns[name] for name in block),
            fixed_bytes=ideal.fixed_bytes - sum(layer.parameter_bytes for layer in layers),
            learning_bytes=ideal.learning_bytes - sum(layer.learning_bytes for layer in layers),
            saved_bytes=ideal.saved_bytes - sum(layer.saved_bytes for layer in layers),
            cast_bytes=ideal.cast_bytes - sum(layer.cast_bytes for layer in layers),
            crossing=(ideal.crossing | self._reads[at]) - block,
        )

    def _price(self, ideal: _Ideal) -> tuple[int, int]:
        """Return work + down and work − up, the loss being part of everything's work; nothing crosses the ends.

        Everything is where the last stage ends, so what that saves is off its work already.
        """
        if ideal.blocks + 1 == 1 << len(self._blocks):
            return ideal.work_ns + self._words.loss_ns - ideal.saving_ns, 0
        if not ideal.blocks:
            return 0, 0
        down = sum(self._words.down_ns[value] for value in ideal.crossing)
        up = sum(self._words.up_ns[value] for value in ideal.crossing)
        return ideal.work_ns + down, ideal.work_ns - up

    def _finishing(self, bound_ns: int) -> bool:
        """Say whether ∅ is in E(S), memory left aside."""
        stages = self._plan.num_stages
        lowest: dict[int, list[float]] = {}
        for level in self._levels():
            below: dict[int, list[float]] = {}
            for blocks, ideal in level.items():
                low = lowest.get(blocks) or [INFINITE] * (stages + 1)
                key, height = self._price(ideal)
                heights = [height - ideal.saving_ns, *[height] * (stages - 1)]  # the last stage is the first here
                member = [not lowest, *(start - own < bound_ns for start, own in zip(low[:-1], heights, strict=True))]
                if not blocks:
                    return member[stages]
                own = [key if inside else INFINITE for inside in member]
                here = own if blocks in self._forced else list(map(min, low, own))
                for at in ideal.maximal:
                    smaller = blocks & ~(1 << at)
                    twin = below.get(smaller)
                    below[smaller] = list(map(min, twin, here)) if twin else here
            lowest = below
        return False

    def _pairs(self, bound_ns: int) -> bool:
        """Say the same from all pairs of ideals, memory counted in."""
        ideals = [ideal for level in self._levels() for ideal in level.values()]
        price = {ideal.blocks: self._price(ideal) for ideal in ideals}
        transients = [max(self._words.layers[name].transient_bytes for name in block) for block in self._blocks]
        order = sorted(range(len(transients)), key=lambda at: -transients[at])
        ends = ideals[:1]
        for stage in reversed(range(self._plan.num_stages)):
            starts = []
            last = stage == self._plan.num_stages - 1
            for start in ideals:
                limit_ns = bound_ns + price[start.blocks][1] - (start.saving_ns if last else 0)
                quick = (end for end in ends if price[end.blocks][0] < limit_ns and self._may_be_stage(start, end))
                for end in quick:
                    inside = end.blocks & ~start.blocks
                    transient = next(transients[at] for at in order if inside >> at & 1)
                    if self._held_bytes(stage, start, end) + transient <= (self._plan.memory_limit_bytes or 0):
                        starts.append(start)
                        break
            ends = starts
        return any(not end.blocks for end in ends)

    def _may_be_stage(self, start: _Ideal, end: _Ideal) -> bool:
        inner, other = start.blocks, end.blocks
        passed = (cut for cut in self._forced if cut not in {inner, other})
        return (
            inner != other and not inner & ~other and not any(not inner & ~cut and not cut & ~other for cut in passed)
        )

    def _held_bytes(self, stage: int, start: _Ideal, end: _Ideal) -> int:
        """Return what a stage holds all the time."""
        flying, copies, before, behind = self._words.counts(self._plan, stage)
        held = end.fixed_bytes - start.fixed_bytes + (end.learning_bytes - start.learning_bytes) * copies
        held += (end.saved_bytes - start.saved_bytes) * flying
        held -= (end.cast_bytes - start.cast_bytes) * self._words.shared(flying, copies)
        held += sum(map(self._words.slot_bytes, start.crossing)) * before if start.blocks else 0
        return held + (sum(map(self._words.slot_bytes, end.crossing)) * behind if behind else 0)
