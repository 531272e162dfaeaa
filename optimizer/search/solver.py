"""Find the best split of a model: exactly over all ideals where they can be enumerated, else along captured order.

With few ideals every one of them is a candidate for every cut. Else ``bisection`` first finds a bottleneck that no
split can fall below and leaves only the cuts that take part in splits that keep it; the search decides among these.
Without a limit on memory that bottleneck is the smallest one. With a limit it may be too small; then it is raised step
by step until a split keeps it, and the search finds the smallest among what is left over. Should candidates be too many
to compare in pairs, the tie-breaks are let go; under a limit on memory some candidates are left out, or only the cuts
in captured order searched, and the bottleneck up to which there is no split remains as the proven lower bound.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from optimizer.costs import Network, Problem, rank
from optimizer.search import over_links as networked
from optimizer.search.bisection import Bound, Reachable, reachable, smallest, time_bound, time_potentials
from optimizer.search.dynamic_program import best_chain
from optimizer.search.lattice import Lattice, Positions, along_captured_order, lattice
from optimizer.search.stage_costs import StageCosts, memory_bound

FEW = 700
"""With so few ideals, comparing all pairs is quicker than leaving some out first, but for a chain."""
MOST_PAIRS = 6_000_000
"""Pairs of candidates of neighbouring cuts that are compared at most, all cuts together: 48 megabytes."""
STEPS, NARROW = 256, 2_000
"""By which share a bottleneck is raised first under a limit on memory, and at which share halving ends."""


@dataclass(frozen=True, slots=True)
class Space:
    """The ideals that are searched; ``complete`` says whether they are all there are."""

    lattice: Lattice
    complete: bool


@dataclass(frozen=True, slots=True)
class Solution:
    """The best split that was found.

    Attributes:
        bounds: ∅ ⊂ I₁ ⊂ … ⊂ V as sets of layers.
        lower_bound_ns: No legal split has a smaller bottleneck.
        proven: Whether no legal split has a smaller bottleneck than this one.
        settled: Whether, moreover, this is the best of all that have this bottleneck.
        ideals: How many ideals were searched.
        states: How many pairs of an ideal and a number of stages before it.
    """

    bounds: tuple[int, ...]
    lower_bound_ns: int
    proven: bool
    settled: bool
    ideals: int
    states: int


@dataclass(frozen=True, slots=True)
class _SearchResult:
    """A split, or that there is none, and what is known of all others: no bottleneck is below ``low_ns``."""

    bounds: tuple[int, ...] | None
    low_ns: int
    settled: bool


def space_of(problem: Problem) -> Space:
    """Return all ideals, or those in captured order where all are too many."""
    every = lattice(problem)
    return Space(every, complete=True) if every else Space(along_captured_order(problem), complete=False)


def solve(problem: Problem, space: Space) -> Solution | None:
    """Return the best split, or None if none in ``space`` keeps to the problem's limits."""
    if problem.network:
        return _solve_over(problem, problem.network, space)
    best = _search(problem, space.lattice)
    low_ns = best.low_ns if space.complete else problem.simple_bound_ns
    if best.bounds is None and not best.settled:
        best = _search(problem, along_captured_order(problem))
    if best.bounds is None:
        return None
    proven = problem.bottleneck_ns(best.bounds) == low_ns
    return Solution(
        bounds=best.bounds,
        lower_bound_ns=low_ns,
        proven=proven,
        settled=proven and best.settled and space.complete,
        ideals=len(space.lattice),
        states=len(space.lattice) * problem.stages,
    )


def _solve_over(problem: Problem, network: Network, space: Space) -> Solution | None:
    """Return the split of the smallest period over a network, along captured order where ideals are too many."""
    complete = space.complete and len(space.lattice) <= networked.MOST
    lattice = space.lattice if complete else along_captured_order(problem)
    bounds = networked.best_over(problem, network, lattice)
    if bounds is None:
        return None
    low_ns = problem.bottleneck_ns(bounds) if complete else problem.simple_bound_ns
    return Solution(
        bounds=bounds,
        lower_bound_ns=low_ns,
        proven=problem.bottleneck_ns(bounds) == low_ns,
        settled=False,
        ideals=len(lattice),
        states=len(lattice) * problem.stages,
    )


def all_stage_costs(problem: Problem, lattice: Lattice) -> StageCosts:
    """Return all ideals as candidates for every cut."""
    return StageCosts(problem, lattice, [_ranked(lattice, np.arange(1, len(lattice) - 1))] * (problem.stages - 1))


def stage_costs_within(problem: Problem, space: Space, limit_ns: int) -> StageCosts | None:
    """Return the candidates for every cut of all splits whose stages cost at most ``limit_ns``, and some more.

    None where candidates are too many to compare in pairs, or not all legal cuts are searched.
    """
    lattice, limit = space.lattice, problem.memory_limit_bytes
    if not space.complete:
        return None
    if len(lattice) <= FEW:
        return all_stage_costs(problem, lattice)
    bounds = [time_bound(lattice, problem.stages, limit_ns)]
    bounds += [] if limit is None else [memory_bound(problem, lattice, limit)]
    cuts = _candidates(problem, reachable(lattice, bounds))
    return _stage_costs(problem, lattice, cuts) if _pairs(cuts) <= MOST_PAIRS else None


def _search(problem: Problem, lattice: Lattice) -> _SearchResult:
    if len(lattice) <= FEW and not lattice.is_chain:
        bounds = _best(all_stage_costs(problem, lattice))
        return _SearchResult(bounds, problem.bottleneck_ns(bounds) if bounds else 0, settled=True)
    ceiling_ns = _ceiling_ns(lattice)
    limit = problem.memory_limit_bytes
    others = [] if limit is None else [memory_bound(problem, lattice, limit)]
    low_ns = smallest(lattice, time_bound(lattice, problem.stages, ceiling_ns), problem.simple_bound_ns, others)
    if low_ns is None:
        return _SearchResult(None, ceiling_ns, settled=True)
    if others:
        return _raised(problem, lattice, others, low_ns, ceiling_ns)
    left = reachable(lattice, [time_bound(lattice, problem.stages, low_ns)])
    cuts = _candidates(problem, left)
    settled = _pairs(cuts) <= MOST_PAIRS
    bounds = (
        _best(_stage_costs(problem, lattice, cuts)) if settled else _any_chain(lattice, left, problem.stages, low_ns)
    )
    return _SearchResult(bounds, low_ns, settled=settled)


def _raised(problem: Problem, lattice: Lattice, others: Sequence[Bound], low_ns: int, ceiling_ns: int) -> _SearchResult:
    """Raise the bottleneck until a split keeps it and the limit on memory.

    Below ``low_ns`` there is no split. What is tried goes up in growing steps, but never above the best split that is
    known, and then halves what lies between ``low_ns`` and where candidates become too many.
    """
    best: tuple[int, ...] | None = None
    step_ns, high_ns, crowded = max(1, low_ns // STEPS), low_ns, False
    while True:
        cuts = _candidates(problem, reachable(lattice, [time_bound(lattice, problem.stages, high_ns), *others]))
        if _pairs(cuts) > MOST_PAIRS:
            ceiling_ns, crowded = high_ns, True
        else:
            best = _better(problem, _best(_stage_costs(problem, lattice, cuts)), best)
            if best and problem.bottleneck_ns(best) <= high_ns:
                return _SearchResult(best, problem.bottleneck_ns(best), settled=True)
            if high_ns >= ceiling_ns and not crowded:
                return _SearchResult(None, ceiling_ns, settled=True)
            low_ns = high_ns + 1
        if crowded and ceiling_ns - low_ns <= low_ns // NARROW:
            return _SearchResult(_thinned_out(problem, lattice, others, ceiling_ns, best), low_ns, settled=False)
        if crowded:
            high_ns = (low_ns + ceiling_ns) // 2
        else:
            most_ns = problem.bottleneck_ns(best) if best else ceiling_ns
            high_ns, step_ns = min(most_ns, high_ns + step_ns), 2 * step_ns


def _thinned_out(
    problem: Problem, lattice: Lattice, others: Sequence[Bound], high_ns: int, best: tuple[int, ...] | None
) -> tuple[int, ...] | None:
    """Return the best split that few of too many candidates give, or the one that is known."""
    ceiling_ns, step_ns = _ceiling_ns(lattice), max(1, high_ns // STEPS)
    while True:
        cuts = _candidates(problem, reachable(lattice, [time_bound(lattice, problem.stages, high_ns), *others]))
        thinned = [_thinned(lattice, cut, len(cuts)) for cut in cuts]
        best = _better(problem, _best(_stage_costs(problem, lattice, thinned)), best)
        if high_ns >= ceiling_ns or (best and problem.bottleneck_ns(best) <= high_ns):
            return best
        high_ns, step_ns = min(ceiling_ns, high_ns + step_ns), 2 * step_ns


def _better(problem: Problem, first: tuple[int, ...] | None, other: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Return the split of the smaller bottleneck, ``first`` of equals, for it was chosen among more."""
    if first is None or other is None:
        return first or other
    return min(first, other, key=problem.bottleneck_ns)


def _ceiling_ns(lattice: Lattice) -> int:
    """Return what no stage can exceed."""
    dearer_ns = lattice.saving_ns.max() - lattice.saving_ns[-1]  # what updates in the last stage may take more
    return int(lattice.work_ns[-1] + lattice.down_ns.max() + lattice.up_ns.max() + dearer_ns)


def _candidates(problem: Problem, left: Reachable) -> list[Positions]:
    return [left.at_cut(cut) for cut in range(1, problem.stages)]


def _pairs(cuts: Sequence[Positions]) -> int:
    return sum(count * other for count, other in pairwise([1, *map(len, cuts), 1]))


def _thinned(lattice: Lattice, cut: Positions, cuts: int) -> Positions:
    """Return candidates few enough to compare: those in captured order, and others evenly chosen."""
    most = math.isqrt(MOST_PAIRS // cuts)
    if len(cut) <= most:
        return cut
    prefixes = [at for at in cut if lattice.ideals[at] & (lattice.ideals[at] + 1) == 0]
    chosen = cut[np.linspace(0, len(cut) - 1, max(1, most - len(prefixes)), dtype=np.int64)]
    return np.unique(np.concatenate([np.array(prefixes, dtype=np.int64), chosen]))


def _stage_costs(problem: Problem, lattice: Lattice, cuts: Sequence[Positions]) -> StageCosts:
    return StageCosts(problem, lattice, [_ranked(lattice, cut) for cut in cuts])


def _ranked(lattice: Lattice, positions: Positions) -> Positions:
    return np.array(sorted(positions, key=lambda at: rank(lattice.ideals[at])), dtype=np.int64)


def _best(stage_costs: StageCosts) -> tuple[int, ...] | None:
    places = best_chain(stage_costs.costs_ns(), stage_costs.cut_bytes())
    return None if places is None else stage_costs.bounds_at(places)


def _any_chain(lattice: Lattice, left: Reachable, stages: int, bottleneck: int) -> tuple[int, ...]:
    """Walk back from V: at each cut, the first ideal below that can stand there and is high enough."""
    keys, heights = time_potentials(lattice, stages, lattice.work_ns)
    places = [len(lattice) - 1]
    for cut in range(stages - 1, -1, -1):
        here = places[-1]
        needed = keys[cut][here] - bottleneck
        least = max((at for at in lattice.forced if at < here), default=0)
        high = left.at_cut(cut) if cut else np.array([0])
        high = high[(heights[cut][high] >= needed) & (high >= least)]
        places.append(next(int(at) for at in high if lattice.ideals[at] & ~lattice.ideals[here] == 0 and at != here))
    return tuple(lattice.ideals[at] for at in reversed(places))
