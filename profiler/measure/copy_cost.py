"""Measure what copying into a slot, and casting to bfloat16, costs a core, by size."""

import mmap
import statistics
from collections.abc import Callable

import torch

from profiler.execution import LOWER, TensorSpec, fill, slot_tensors
from profiler.profile import CopyCost
from profiler.rounds import Clock

SIZES_BYTES = tuple(4096 * 4**power for power in range(8))  # 4 KiB … 64 MiB
COPIES = 9


def measure_copy_cost(clock: Callable[[], float]) -> CopyCost:
    """Return the median time of a slot copy for each of ``SIZES_BYTES``, from memory that was just written."""
    return CopyCost(sizes_bytes=SIZES_BYTES, copy_s=tuple(_copy_s(size, clock) for size in SIZES_BYTES))


def measure_cast_cost(clock: Callable[[], float]) -> CopyCost:
    """Return the median time of a cast from float32 to bfloat16 and one back, by the size in float32."""
    return CopyCost(sizes_bytes=SIZES_BYTES, copy_s=tuple(_cast_s(size, clock) for size in SIZES_BYTES))


def _cast_s(size: int, clock: Clock) -> float:
    source = torch.zeros(size // torch.float32.itemsize)
    return _just_written_s(source, lambda: source.to(LOWER).float(), clock)


def _copy_s(size: int, clock: Clock) -> float:
    elements = size // torch.float32.itemsize
    spec = TensorSpec(name="probe", shape=(elements,), stride=(1,), dtype=torch.float32, gradient=False)
    source = torch.zeros(elements)
    slot = slot_tensors(mmap.mmap(-1, size), 0, [spec])
    return _just_written_s(source, lambda: fill(slot, [source]), clock)


def _just_written_s(source: torch.Tensor, work: Callable[[], object], clock: Clock) -> float:
    """Return the median time of work on memory that was just written."""
    times = []
    for _ in range(1 + COPIES):
        source.add_(1.0)
        start = clock()
        work()
        times.append(clock() - start)
    return statistics.median(times[1:])
