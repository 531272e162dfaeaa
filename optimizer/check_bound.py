"""Show that no legal split stays below a bottleneck, with code that shares nothing with the search.

It goes down from V, a block at a time, with plain integers. E(k) holds the ideals that k stages below B finish from,

    J ∈ E(k + 1)  ⇔  min { work(I) + down(I) : I ∈ E(k), I ⊃ J } − (work(J) − up(J)) < B,

and a legal split below B exists exactly if ∅ ∈ E(S). Under a limit on memory that is only necessary; where it does not
settle the matter, all pairs J ⊂ I are compared.
"""

from collections.abc import Iterator

import networkx as nx

from optimizer.check_words import Words
from optimizer.types import Plan

MOST_IDEALS, MOST_PAIRED = 50_000, 600
INFINITE = float("inf")


class Downwards:
    """The ideals from V down, as sets of blocks, and which of them a split of so many quick stages can finish from.

    Attributes:
        seen: How many ideals were looked at.
        reason: Why it could not be told whether there is a split, if so.
    """

    def __init__(self, plan: Plan, words: Words) -> None:
        """Prepare to look for splits that keep the limits of ``plan``."""
        self._plan, self._words = plan, words
        self.seen, self.reason = 0, f"there are more than {MOST_IDEALS} ideals"
        graph = nx.condensation(words.glued())
        self._blocks: list[set[str]] = [graph.nodes[node]["members"] for node in graph]
        self._followers = [sum(1 << after for after in graph.successors(node)) for node in graph]
        forced = [words.needed(names) for names in plan.cut_after]
        self._forced = [sum(1 << at for at, block in enumerate(self._blocks) if block <= ideal) for ideal in forced]
        self._everything = (1 << len(self._blocks)) - 1

    def some_split_is_below(self, bound_ns: int) -> bool | None:
        """Say whether a legal split has all stages below ``bound_ns``; None if that would take too long."""
        found = self._finishing(bound_ns)
        if found is None or not found or self._plan.memory_limit_bytes is None:
            return found if found is None else bool(found)
        self.reason = f"under a limit on memory all pairs of ideals are compared, of at most {MOST_PAIRED}"
        return self._pairs(bound_ns)

    def _levels(self) -> Iterator[list[int]]:
        """Yield the ideals with every number of blocks, from all blocks down to none."""
        level = [self._everything]
        while level:
            self.seen += len(level)
            yield level
            below = set()
            for ideal in level:
                for at in range(len(self._blocks)):
                    if ideal >> at & 1 and not self._followers[at] & ideal:
                        smaller = ideal & ~(1 << at)
                        if all(smaller & ~cut == 0 or cut & ~smaller == 0 for cut in self._forced):
                            below.add(smaller)
            level = sorted(below)

    def _names(self, ideal: int) -> set[str]:
        return {name for at, block in enumerate(self._blocks) if ideal >> at & 1 for name in block}

    def _price(self, ideal: int) -> tuple[int, int]:
        """Return work + down and work − up, the loss being part of everything's work."""
        names = self._names(ideal)
        work = sum(self._words.work_ns[name] for name in names) + (
            self._words.loss_ns if ideal == self._everything else 0
        )
        down, up = self._words.cut_ns(names)
        return work + down, work - up

    def _finishing(self, bound_ns: int) -> bool | None:
        """Say whether ∅ is in E(S), memory left aside; None for too many ideals."""
        stages = self._plan.num_stages
        above: dict[int, list[float]] = {}
        for level in self._levels():
            if self.seen > MOST_IDEALS:
                return None
            here: dict[int, list[float]] = {}
            for ideal in level:
                lowest = above.get(ideal, [INFINITE] * (stages + 1))
                key, height = self._price(ideal)
                member = [ideal == self._everything, *(low - height < bound_ns for low in lowest[:-1])]
                if ideal == 0:
                    return member[stages]
                own = [key if one else INFINITE for one in member]
                here[ideal] = own if ideal in self._forced else [min(pair) for pair in zip(lowest, own, strict=True)]
            above = self._handed_down(here)
        return False

    def _handed_down(self, here: dict[int, list[float]]) -> dict[int, list[float]]:
        """Return for each ideal a level further down the lowest of the ideals directly above it."""
        found: dict[int, list[float]] = {}
        for ideal, lowest in here.items():
            for at in range(len(self._blocks)):
                if ideal >> at & 1 and not self._followers[at] & ideal:
                    smaller = ideal & ~(1 << at)
                    known = found.get(smaller)
                    found[smaller] = [min(pair) for pair in zip(known, lowest, strict=True)] if known else lowest
        return found

    def _pairs(self, bound_ns: int) -> bool | None:
        """Say the same from all pairs of ideals, memory counted in; None for too many."""
        self.seen = 0
        ideals = [ideal for level in self._levels() for ideal in level]
        if len(ideals) > MOST_PAIRED:
            return None
        keys, heights = ({ideal: self._price(ideal)[at] for ideal in ideals} for at in (0, 1))
        ends = {self._everything}
        for stage in reversed(range(self._plan.num_stages)):
            quick = ((start, end) for start in ideals for end in ends if keys[end] - heights[start] < bound_ns)
            ends = {start for start, end in quick if self._fits(stage, start, end)}
        return 0 in ends

    def _fits(self, stage: int, start: int, end: int) -> bool:
        """Say whether the layers between two ideals may be a stage."""
        if start == end or start & ~end:
            return False
        if any(start != cut != end and start & ~cut == 0 and cut & ~end == 0 for cut in self._forced):
            return False
        limit = self._plan.memory_limit_bytes
        needed = self._words.memory_bytes(self._plan, stage, self._names(start), self._names(end))
        return limit is None or needed <= limit
