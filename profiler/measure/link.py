"""Measure what sending costs: the slot copy, by size, into shared memory."""

import mmap
import statistics
from collections.abc import Callable

import torch

from profiler.execution import TensorSpec, fill, slot_tensors
from profiler.profile import Link

SIZES_BYTES = tuple(4096 * 4**power for power in range(8))  # 4 KiB … 64 MiB
REPEATS = 9


def measure_link(clock: Callable[[], float]) -> Link:
    """Return the median time of a slot copy for each of ``SIZES_BYTES``, from memory that was just written."""
    return Link(sizes_bytes=SIZES_BYTES, copy_s=tuple(_copy_s(size, clock) for size in SIZES_BYTES))


def _copy_s(size: int, clock: Callable[[], float]) -> float:
    elements = size // torch.float32.itemsize
    spec = TensorSpec(name="probe", shape=(elements,), stride=(1,), dtype=torch.float32, gradient=False)
    source = torch.zeros(elements)
    slot = slot_tensors(mmap.mmap(-1, size), 0, [spec])
    times = []
    for _ in range(1 + REPEATS):
        source.add_(1.0)
        start = clock()
        fill(slot, [source])
        times.append(clock() - start)
    return statistics.median(times[1:])
