"""Measure what copying into a slot costs a core, by size."""

import mmap
import statistics
from collections.abc import Callable

import torch

from profiler.execution import TensorSpec, fill, slot_tensors
from profiler.profile import CopyCost

SIZES_BYTES = tuple(4096 * 4**power for power in range(8))  # 4 KiB … 64 MiB
COPIES = 9


def measure_copy_cost(clock: Callable[[], float]) -> CopyCost:
    """Return the median time of a slot copy for each of ``SIZES_BYTES``, from memory that was just written."""
    return CopyCost(sizes_bytes=SIZES_BYTES, copy_s=tuple(_copy_s(size, clock) for size in SIZES_BYTES))


def _copy_s(size: int, clock: Callable[[], float]) -> float:
    elements = size // torch.float32.itemsize
    spec = TensorSpec(name="probe", shape=(elements,), stride=(1,), dtype=torch.float32, gradient=False)
    source = torch.zeros(elements)
    slot = slot_tensors(mmap.mmap(-1, size), 0, [spec])
    times = []
    for _ in range(1 + COPIES):
        source.add_(1.0)
        start = clock()
        fill(slot, [source])
        times.append(clock() - start)
    return statistics.median(times[1:])
