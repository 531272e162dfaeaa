"""A slot: the tensors that cross one cut, packed into a buffer, and the copy that fills it.

The copy is the whole price of sending in shared memory, so the profiler measures this very function by size.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from profiler.execution.graph import TensorSpec

ALIGNMENT_BYTES = 64
"""Tensors start at multiples of this, as those that torch allocates do; kernels may compute differently otherwise."""


def slot_bytes(specs: Sequence[TensorSpec]) -> int:
    """Return the size of a slot that holds one tensor for each of ``specs``."""
    return sum(_aligned(spec.bytes) for spec in specs)


def slot_tensors(buffer: Any, offset: int, specs: Sequence[TensorSpec]) -> list[Tensor]:
    """Return tensors of the given shapes and strides that live in ``buffer`` from ``offset`` on."""
    tensors = []
    for spec, start in zip(specs, slot_offsets(offset, specs), strict=True):
        if spec.bytes:
            flat = torch.frombuffer(buffer, dtype=spec.dtype, count=spec.bytes // spec.dtype.itemsize, offset=start)
        else:
            flat = torch.empty(0, dtype=spec.dtype)
        tensors.append(flat.as_strided(spec.shape, spec.stride))
    return tensors


def slot_offsets(offset: int, specs: Sequence[TensorSpec]) -> list[int]:
    """Return where each tensor of a slot that begins at ``offset`` starts."""
    return list(accumulate((_aligned(spec.bytes) for spec in specs[:-1]), initial=offset)) if specs else []


@torch.no_grad()
def fill(slot: Sequence[Tensor], tensors: Sequence[Tensor]) -> None:
    """Copy ``tensors`` into ``slot``."""
    for target, tensor in zip(slot, tensors, strict=True):
        target.copy_(tensor)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
