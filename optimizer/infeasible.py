"""Say why no split fits into the memory, and what would: a larger limit, or a smaller minibatch.

The smallest limit that would do is the smallest maximum of memory(J, I, s) over all splits, found as a bottleneck is,
over all ideals where they are few and else over the cuts in captured order (then a smaller one might do, too). For
another batch size, what a minibatch holds is taken to grow in proportion to its samples, and parameters stay.
"""

from dataclasses import replace

from optimizer.arcs import NEVER, memory_bound
from optimizer.errors import InfeasibleError, PartitionError
from optimizer.lattice import along_captured_order, lattice
from optimizer.memory import factors, stage_bytes
from optimizer.problem import Problem
from optimizer.reach import smallest
from optimizer.search import smallest_maximum
from optimizer.solve import FEW, grid_of_all

MEBIBYTE = 1 << 20


def why_nothing_fits(problem: Problem, model: str, batch_size: int) -> PartitionError:
    """Return the error for a problem that has no solution."""
    stages, limit = problem.stages, problem.memory_limit_bytes
    needed = None if limit is None else smallest_limit(problem)
    if limit is None or needed is None:
        forced = " with these cuts forced" if problem.forced else ""
        return PartitionError(f"{model} cannot be cut into {stages} stages{forced}; use fewer --stages")
    layer, alone = tightest(problem)
    batch = largest_batch(problem, batch_size)
    smaller = f"--batch-size {batch}" if batch else "a model with fewer parameters, for not even --batch-size 1 fits"
    return InfeasibleError(
        f"no split of {model} into {stages} stages was found that fits into {_mib(limit)} a stage: the tightest layer, "
        f"{layer}, takes {_mib(alone)} alone; use --memory-limit {_mib(needed)} or more, or {smaller}"
    )


def smallest_limit(problem: Problem) -> int | None:
    """Return a limit in bytes that some split keeps, or None if there is no split at all.

    It is the smallest one where ideals are few, else that of the cuts in captured order, the largest transient added.
    """
    free = replace(problem, memory_limit_bytes=None)
    found = lattice(free, FEW) or along_captured_order(free)
    if len(found) > FEW:
        most = max(layer.transient_bytes for layer in problem.costs.layers)
        held = smallest(found, memory_bound(free, found, 1 << 61), 0)
        return None if held is None else held + most
    grid = grid_of_all(free, found)
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


def _mib(size: int) -> str:
    """Return a size as ``--memory-limit`` takes it, rounded up."""
    return f"{-(-size // MEBIBYTE)}MiB"
