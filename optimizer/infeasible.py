"""Say why no split fits into the memory, and what would: a larger limit, or a smaller minibatch.

For another batch size, what a minibatch holds is taken to grow in proportion to its samples, and parameters stay.
"""

from dataclasses import replace

from optimizer.arcs import NEVER, memory_bound
from optimizer.errors import InfeasibleError, PartitionError
from optimizer.memory import factors, stage_bytes
from optimizer.problem import Problem
from optimizer.reach import smallest
from optimizer.search import smallest_maximum
from optimizer.solve import FEW, Space, grid_of_all, solve, space_of

MEBIBYTE = 1 << 20
MOST_SOLVED = 50_000
"""With more ideals, planning again takes too long to be done a dozen times."""


def why_nothing_fits(problem: Problem, model: str, batch_size: int) -> PartitionError:
    """Return the error for a problem that has no solution."""
    stages, limit = problem.stages, problem.memory_limit_bytes
    needed = None if limit is None else smallest_limit(problem)
    if limit is None or needed is None:
        forced = " with these cuts forced" if problem.forced else ""
        return PartitionError(f"{model} cannot be cut into {stages} stages{forced}; use fewer --stages")
    layer, alone = tightest(problem)
    return InfeasibleError(
        f"no split of {model} into {stages} stages was found that fits into {_size(limit)} a stage: the tightest "
        f"layer, {layer}, takes {_mib(alone)} alone; use --memory-limit {_mib(needed)} or more"
        f"{_smaller_batch(problem, batch_size)}"
    )


def _smaller_batch(problem: Problem, batch_size: int) -> str:
    if batch_size == 1:
        return ""
    batch = largest_batch(problem, batch_size)
    return (
        f", or a profile of --batch-size {batch}" if batch else "; at no smaller --batch-size was one found that fits"
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
        found = solve(replace(problem, memory_limit_bytes=middle), space)
        low, high = (middle, high) if found is None else (low, max(problem.memory_bytes(found.bounds)))
    return high


def _smallest_of_all(free: Problem, space: Space) -> int | None:
    grid = grid_of_all(free, space.lattice)
    matrices = grid.memory_bytes()
    for needed, legal in zip(matrices, grid.legal, strict=True):
        needed[~legal] = NEVER
    least = int(smallest_maximum(matrices))
    return None if least >= NEVER else least


def tightest(problem: Problem) -> tuple[str, int]:
    """Return the layer that takes the most memory in a last stage of its own, where a layer takes the least."""
    last = factors(problem.stages - 1, problem.stages, problem.minibatches, problem.costs.momenta)
    last = replace(last, before=0, behind=0)
    alone = [stage_bytes(problem.costs, last, 0, 1 << at) for at in range(len(problem.costs.layers))]
    most = max(range(len(alone)), key=alone.__getitem__)
    return problem.costs.layers[most].name, alone[most]


def largest_batch(problem: Problem, batch_size: int) -> int | None:
    """Return the largest smaller batch size at which a split keeps the limit, or None if there is none."""
    assert problem.memory_limit_bytes is not None
    fits, too_large = 0, batch_size
    while too_large - fits > 1:
        middle = (fits + too_large) // 2
        needed = smallest_limit(_scaled(problem, middle, batch_size))
        if needed is not None and needed <= problem.memory_limit_bytes:
            fits = middle
        else:
            too_large = middle
    return fits or None


def _scaled(problem: Problem, wanted: int, batch_size: int) -> Problem:
    """Return the problem for minibatches of ``wanted`` samples; times stay as they are."""

    def scale(size: int) -> int:
        return -(-size * wanted // batch_size)

    layers = tuple(
        replace(layer, saved_bytes=scale(layer.saved_bytes), transient_bytes=scale(layer.transient_bytes))
        for layer in problem.costs.layers
    )
    values = tuple(
        replace(value, output_bytes=scale(value.output_bytes), gradient_bytes=scale(value.gradient_bytes))
        for value in problem.costs.values
    )
    return replace(problem, costs=replace(problem.costs, layers=layers, values=values))


def _size(size: int) -> str:
    """Return a size in MiB if it is a whole number of these, else in bytes."""
    return f"{size}B" if size % MEBIBYTE else _mib(size)


def _mib(size: int) -> str:
    """Return a size as ``--memory-limit`` takes it, rounded up."""
    return f"{-(-size // MEBIBYTE)}MiB"
