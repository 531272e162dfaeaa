"""What can stand before a cut: all ideals of the layer graph, or the prefixes of a few topological orders.

An ideal (downset) of a directed acyclic graph holds every predecessor of each of its members. A pipeline's cuts are a
chain of ideals ∅ ⊂ I₁ ⊂ … ⊂ V, so all ideals together are all that a split can be cut at. Most models have few:
AlexNet 23, VGG16 41, ResNet50 240, DenseNet121 432. Where there are more than ``MOST_IDEALS``, the prefixes of three
topological orders stand for them: captured, depth first, breadth first. On eleven graphs that PipeDream published,
these gave a bottleneck longer by 0.17% on average, in 2 to 8 stages, and by 3.1% at most.

A set of layers is a Python integer whose bit i stands for layer i in captured order.
Source: Tarnawski et al., "Efficient Algorithms for Device Placement of DNN Graph Operators", NeurIPS 2020, section 5.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optimizer.costs import Problem, members_of, prefixes, rank

MOST_IDEALS = 2_000
"""So many are compared in pairs at most."""
MOST_CANDIDATES = 4_000
"""Of prefixes: further orders are left out where they would come to more."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The ideals that a split may be cut at, in rank order, ∅ first and V last; whether they are all there are."""

    ideals: tuple[int, ...]
    complete: bool


def candidates_of(problem: Problem) -> Candidates:
    """Return all ideals that go with the forced cuts, or the prefixes of a few orders where these are too many."""
    blocks = problem.parts
    followers = _followers(blocks)
    if every := _all_ideals(blocks, followers):
        return Candidates(_ranked(every), complete=True)
    ideals: set[int] = set()
    for choice in (_first_captured(blocks), _depth_first, _breadth_first):
        order = _prefixes(blocks, followers, choice)
        if ideals and len(ideals | order) > MOST_CANDIDATES:
            break
        ideals |= order
    return Candidates(_ranked(ideals), complete=False)


def captured_order(problem: Problem) -> Candidates:
    """Return only the ideals of the form "the first k layers in captured order"."""
    return Candidates(tuple(prefixes(problem.costs.parts, len(problem.costs.layers))), complete=False)


def _ranked(ideals: set[int]) -> tuple[int, ...]:
    return tuple(sorted(ideals, key=rank))


def _followers(blocks: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return for each block those that need it."""
    home = {at: block for block, (members, _) in enumerate(blocks) for at in members_of(members)}
    followers: list[list[int]] = [[] for _ in blocks]
    for block, (_, needs) in enumerate(blocks):
        for before in {home[at] for at in members_of(needs)}:
            followers[before].append(block)
    return followers


def _all_ideals(blocks: Sequence[tuple[int, int]], followers: Sequence[Sequence[int]]) -> set[int] | None:
    """Return all ideals, going up from ∅ a block at a time; None where there are more than ``MOST_IDEALS``."""
    level = {0: frozenset(at for at, (_, needs) in enumerate(blocks) if not needs)}
    ideals = {0}
    while level:
        larger: dict[int, frozenset[int]] = {}
        for ideal, free in level.items():
            if len(free) >= MOST_IDEALS:
                return None
            for at in free:
                grown = ideal | blocks[at][0]
                if grown not in larger:
                    added = [after for after in followers[at] if not blocks[after][1] & ~grown]
                    larger[grown] = (free - {at}).union(added)
                if len(ideals) + len(larger) > MOST_IDEALS:
                    return None
        ideals.update(larger)
        level = larger
    return ideals


def _prefixes(
    blocks: Sequence[tuple[int, int]], followers: Sequence[Sequence[int]], choice: Callable[[list[int]], int]
) -> set[int]:
    """Return the prefixes of a topological order: which block comes next is the choice among those that may."""
    ideal, ideals, free = 0, {0}, [at for at, (_, needs) in enumerate(blocks) if not needs]
    while free:
        at = free.pop(choice(free))
        ideal |= blocks[at][0]
        ideals.add(ideal)
        free += [after for after in followers[at] if not blocks[after][1] & ~ideal]
    return ideals


def _first_captured(blocks: Sequence[tuple[int, int]]) -> Callable[[list[int]], int]:
    """Choose the block whose last layer comes first, which goes through every legal prefix of the captured order."""
    return lambda free: min(range(len(free)), key=lambda place: blocks[free[place]][0].bit_length())


def _depth_first(free: list[int]) -> int:
    return len(free) - 1


def _breadth_first(_free: list[int]) -> int:
    return 0
