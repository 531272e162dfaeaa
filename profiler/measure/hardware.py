"""Measure what one core can do at best, in operations and bytes per second, and what copying into a slot costs it."""

import mmap
import statistics
from collections.abc import Callable

import torch

from profiler.execution import LOWER, TensorSpec, fill, slot_tensors
from profiler.profile import CopyCost, Peaks
from profiler.rounds import Clock

PRODUCTS = (512, 1024, 2048)
"""Sizes of the square matrix products that are tried; the quickest counts."""
STREAM_BYTES = 128 << 20
"""Size of each of three arrays in ``c ← a + b``, far above any cache that one core has."""
REPEATS = 4


def measure_peaks(clock: Clock) -> Peaks:
    """Return the best of a convolution and a few matrix products, and of passes over memory, in single precision."""
    flops_per_s = max(_convolution(clock), *(_product(size, clock) for size in PRODUCTS))
    a, b = torch.ones(STREAM_BYTES // 4), torch.ones(STREAM_BYTES // 4)
    c = torch.empty_like(a)
    stream_s = _quickest_s(lambda: torch.add(a, b, out=c), clock)
    return Peaks(flops_per_s=flops_per_s, bytes_per_s=3 * STREAM_BYTES / stream_s)


def _product(size: int, clock: Clock) -> float:
    a, b = torch.ones(size, size), torch.ones(size, size)
    c = torch.empty(size, size)
    return 2 * size**3 / _quickest_s(lambda: torch.mm(a, b, out=c), clock)


def _convolution(clock: Clock) -> float:
    """Convolutions run in another library than products do; which is the quicker depends on the machine."""
    images, weight = torch.ones(4, 256, 28, 28), torch.ones(256, 256, 3, 3)
    flops = 2 * images.numel() * weight[0].numel()
    return flops / _quickest_s(lambda: torch.conv2d(images, weight, padding=1), clock)


def _quickest_s(work: Callable[[], object], clock: Clock) -> float:
    work()
    times = []
    for _ in range(REPEATS):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times)


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
