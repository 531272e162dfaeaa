"""Say why no split fits into the memory, and the limit that would do."""

from dataclasses import replace

from optimizer.costs import Problem, stage_bytes
from optimizer.errors import InfeasibleError, PartitionError
from optimizer.search.bisection import smallest
from optimizer.search.dynamic_program import smallest_maximum
from optimizer.search.solver import FEW, Space, all_stage_costs, solve, space_of
from optimizer.search.stage_costs import NEVER, memory_bound

MEBIBYTE = 1 << 20
MOST_SOLVED = 50_000
"""With more ideals, planning again takes too long to be done a dozen times."""


def why_nothing_fits(problem: Problem, model: str) -> PartitionError:
    """Return the error for a problem that has no solution."""
    stages, limit = problem.stages, problem.memory_limit_bytes
    needed = None if limit is None else smallest_limit(problem)
    if limit is None or needed is None:
        forced = " with these cuts forced" if problem.forced else ""
        remedy = "measure links between fewer ranks" if problem.network else "use fewer --stages"
        return PartitionError(f"{model} cannot be cut into {stages} stages{forced}; {remedy}")
    layer, alone = tightest(problem)
    return InfeasibleError(
        f"no split of {model} into {stages} stages was found that fits into {_size(limit)} a stage: the tightest "
        f"layer, {layer}, takes {mib(alone)} alone; use --memory-limit {mib(needed)} or more, or a smaller "
        "--batch-size"
    )


def smallest_limit(problem: Problem) -> int | None:
    """Return the smallest limit in bytes that some split is known to keep, or None if there is no split at all.

    With few ideals it is the smallest there is. With more, it lies between the smallest sum without transients and that
    with the largest transient; halving finds it to a mebibyte, where planning again is quick enough, from above.
    """
    free = replace(problem, memory_limit_bytes=None)
    space = space_of(free)
    if len(space.lattice) <= FEW:
        return _smallest_of_all(free, space)
    held = smallest(space.lattice, memory_bound(free, space.lattice, 1 << 61), 0)
    if held is None:
        return None
    low, high = held, held + max(layer.transient_bytes for layer in problem.costs.layers)
    while high - low > MEBIBYTE and len(space.lattice) <= MOST_SOLVED:
        middle = (low + high) // 2
        solution = solve(replace(problem, memory_limit_bytes=middle), space)
        low, high = (middle, high) if solution is None else (low, max(problem.memory_bytes(solution.bounds)))
    return high


def _smallest_of_all(free: Problem, space: Space) -> int | None:
    stage_costs = all_stage_costs(free, space.lattice)
    matrices = stage_costs.memory_bytes()
    for needed, legal in zip(matrices, stage_costs.legal, strict=True):
        needed[~legal] = NEVER
    least = int(smallest_maximum(matrices))
    return None if least >= NEVER else least


def tightest(problem: Problem) -> tuple[str, int]:
    """Return the layer that takes the most memory in a last stage of its own, where a layer takes the least."""
    last = problem.factors[-1]
    last = replace(last, before=0, behind=0)
    alone = [stage_bytes(problem.costs, last, 0, 1 << at) for at in range(len(problem.costs.layers))]
    most = max(range(len(alone)), key=alone.__getitem__)
    return problem.costs.layers[most].name, alone[most]


def _size(size: int) -> str:
    """Return a size in MiB if it is a whole number of these, else in bytes."""
    return f"{size}B" if size % MEBIBYTE else mib(size)


def mib(size: int) -> str:
    """Return a size as ``--memory-limit`` takes it, rounded up."""
    return f"{-(-size // MEBIBYTE)}MiB"
