"""Find the best split of a model: one recurrence over the cost of every stage between two candidates.

    best(J, S) = cost(J, V, S)
    best(J, s) = min over candidates I ⊃ J of  max(cost(J, I, s), best(I, s + 1))

where cost(J, I, s) is what stage s takes if it is the layers I∖J (``stage_table``) and best(J, s) the smallest
bottleneck of what lies behind J when stage s begins there: PipeDream's dynamic program, over ideals in the place of
prefixes, in O(S·n²) for n candidates. Exact over the given candidates (``candidates``): where these are all ideals, no
split at all is better; else none is better than an even share of the whole, or the largest part. A limit on memory is a
mask on the stages. Among the splits of the smallest bottleneck ties are settled as in ``dynamic_program``.

Not modelled: what stages do to each other, how unsteady they are, and that a layer's backward can be cheaper at a cut.
Source: Narayanan et al., "PipeDream", SOSP 2019, section 3.1; ideals after Tarnawski et al., NeurIPS 2020.
"""

from dataclasses import dataclass

import numpy as np

from optimizer.costs import Problem
from optimizer.errors import InfeasibleError, PartitionError
from optimizer.search.candidates import Candidates
from optimizer.search.dynamic_program import best_chain, smallest_behind
from optimizer.search.stage_table import NEVER, Integers, StageTable, bottleneck_ns

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Solution:
    """The best split over some candidates.

    Attributes:
        bounds: ∅ ⊂ I₁ ⊂ … ⊂ V as sets of layers.
        bottleneck_ns: What its slowest stage costs.
        lower_bound_ns: No legal split has a smaller bottleneck.
    """

    bounds: tuple[int, ...]
    bottleneck_ns: int
    lower_bound_ns: int


def solve(problem: Problem, candidates: Candidates) -> Solution | None:
    """Return the best split over candidates, or None if none keeps to the problem's limits."""
    table, limit = StageTable(problem, candidates.ideals), problem.memory_limit_bytes

    def cost_ns(stage: int) -> Integers:
        times_ns = table.time_ns(stage)
        return times_ns if limit is None else np.where(table.memory_bytes(stage) <= limit, times_ns, NEVER)

    places = best_chain(cost_ns, problem.stages)
    if places is None:
        return None
    bounds = tuple(candidates.ideals[at] for at in (0, *places, len(candidates.ideals) - 1))
    slowest_ns = bottleneck_ns(problem, bounds)
    return Solution(bounds, slowest_ns, slowest_ns if candidates.complete else problem.simple_bound_ns)


def why_none(problem: Problem, candidates: Candidates, model: str) -> PartitionError:
    """Return the error for a problem without a solution: with the memory limit that would do, where that is why."""
    stages, limit = problem.stages, problem.memory_limit_bytes
    needed = None if limit is None else smallest_limit(problem, candidates)
    if limit is None or needed is None:
        forced = " with these cuts forced" if problem.forced else ""
        return PartitionError(f"{model} cannot be cut into {stages} stages{forced}; use fewer --stages")
    return InfeasibleError(
        f"no split of {model} into {stages} stages was found that fits into {_size(limit)} a stage; use --memory-limit "
        f"{_mib(needed)} or more, or a smaller --batch-size"
    )


def smallest_limit(problem: Problem, candidates: Candidates) -> int | None:
    """Return the smallest limit in bytes that a split keeps, or None if there is no split: the same recurrence."""
    least = int(smallest_behind(StageTable(problem, candidates.ideals).memory_bytes, problem.stages)[0][0])
    return None if least >= NEVER else least


def _size(size: int) -> str:
    """Return a size in MiB if it is a whole number of these, else in bytes."""
    return f"{size}B" if size % MEBIBYTE else _mib(size)


def _mib(size: int) -> str:
    """Return a size as ``--memory-limit`` takes it, rounded up."""
    return f"{-(-size // MEBIBYTE)}MiB"
