"""Measure what averaging gradients takes some neighbouring ranks, with the code that does it in a run."""

import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
import torch.distributed as dist

from profiler.execution import Captured
from runtime.channels import Averaging, blaming_the_neighbour
from runtime.links.message_times import ENOUGH_S, LEAST, MOST

SIZES = (1 << 16, 1 << 21, 1 << 27)
"""In bytes, beyond what a cache holds; a model has no use for larger ones than all its weights that learn."""
LONGEST_S = 3.0
"""A size that would take longer than this is left out, two sizes being known."""


def gradient_sizes(captured: Captured) -> tuple[int, ...]:
    """Return sizes of gradients, ascending: from a small one to the largest that is worth measuring."""
    learning = {path: parameter for path, parameter in captured.model.named_parameters() if path in captured.learning}
    whole = sum(parameter.nbytes for parameter in learning.values())
    least, *others, most = SIZES
    return (least, *(size for size in others if size < whole), max(2 * least, min(whole, most)))


def time_all_reduces(
    group: "dist.ProcessGroup", first: int, ranks: int, sizes: Sequence[int], look: Callable[[], None]
) -> tuple[float, ...]:
    """Return what averaging gradients of each size takes, all ranks being there; of the largest only if that is quick.

    Args:
        group: The ranks.
        first: The first of them, which decides when it has been measured often enough.
        ranks: How many.
        sizes: In bytes.
        look: Called now and then; what it raises ends the measurement.

    Raises:
        NeighbourGone: A rank is no longer there.
    """
    medians_s = []
    for size in sizes:
        gradients = {"": torch.ones(size // torch.float32.itemsize)}  # zeros would share one page of memory
        averaging = Averaging(group, ranks, gradients)
        times: list[float] = []
        more = torch.ones(1)
        while more.item():
            look()
            averaging.wait()
            start = time.perf_counter()
            averaging.average(gradients, ranks)
            times.append(time.perf_counter() - start)
            more[0] = float(len(times) < LEAST or (len(times) < MOST and sum(times) < ENOUGH_S))
            with blaming_the_neighbour():
                dist.broadcast(more, first, group=group)
        medians_s.append(median(times[1:]))
        following_s = medians_s[-1] * sizes[min(len(medians_s), len(sizes) - 1)] / size
        more[0] = float(len(medians_s) < 2 or following_s < LONGEST_S)
        with blaming_the_neighbour():
            dist.broadcast(more, first, group=group)
        if not more.item():
            break
    return tuple(medians_s)
