"""A ring of slots: what crosses a cut, packed into one buffer, minibatch after minibatch.

A slot begins with a header and holds one tensor for each value that crosses. Nearly always the tensors look as they did
when the model was captured, and the header is one zero. An uneven last minibatch has other shapes; then the header says
which, and the tensors take less of the slot. Type and memory format are kept in either case. A second number says
whether the minibatch is the last that an update takes.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from profiler.execution import ALIGNMENT_BYTES, TensorSpec, fill, slot_bytes, slot_offsets, slot_tensors
from runtime.errors import RunError

_AS_CAPTURED, _OTHERWISE, _END = 0, 1, 2
_WORD_BYTES = 8
_FIRST_SHAPE = 2


def ring_bytes(specs: Sequence[TensorSpec], slots: int) -> int:
    """Return the size of a ring."""
    return slots * _slot_bytes(specs)


class Ring:
    """``slots`` slots in a buffer from ``offset`` on."""

    def __init__(self, buffer: Any, offset: int, specs: Sequence[TensorSpec], slots: int) -> None:
        """Lay the slots over the buffer."""
        self.specs, self.slots, self.slot_bytes = tuple(specs), slots, _slot_bytes(specs)
        self._buffer = buffer
        self._starts = [offset + slot * self.slot_bytes for slot in range(slots)]
        header_bytes = _header_bytes(specs)
        self._first = [start + header_bytes for start in self._starts]
        words = header_bytes // _WORD_BYTES
        self._headers = [
            torch.frombuffer(buffer, dtype=torch.int64, count=words, offset=start) for start in self._starts
        ]
        self._flags = [header.numpy() for header in self._headers]
        self._tensors = [slot_tensors(buffer, first, specs) for first in self._first]

    def put(self, minibatch: int, tensors: Sequence[Tensor], *, ends_update: bool = False) -> None:
        """Copy a minibatch's tensors into its slot."""
        slot = minibatch % self.slots
        self._flags[slot][1] = ends_update
        as_captured = all(
            tensor.shape == spec.shape and tensor.dtype == spec.dtype
            for tensor, spec in zip(tensors, self.specs, strict=True)
        )
        if as_captured:
            self._flags[slot][0] = _AS_CAPTURED
            fill(self._tensors[slot], tensors)
            return
        words: list[int] = []
        for tensor, spec in zip(tensors, self.specs, strict=True):
            words += [*tensor.shape, *_dense_strides(tensor, spec)]
        self._flags[slot][0] = _OTHERWISE
        self._flags[slot][_FIRST_SHAPE : _FIRST_SHAPE + len(words)] = words
        fill(self._shaped(slot), tensors)

    def get(self, minibatch: int) -> list[Tensor]:
        """Return a minibatch's tensors, which live in its slot."""
        slot = minibatch % self.slots
        return self._shaped(slot) if self._flags[slot][0] == _OTHERWISE else self._tensors[slot]

    def ends_update(self, minibatch: int) -> bool:
        """Say whether the minibatch in the slot is the last that an update takes."""
        return bool(self._flags[minibatch % self.slots][1])

    def put_end(self, minibatch: int) -> None:
        """Say in a minibatch's slot that there is none, nor any after."""
        self._flags[minibatch % self.slots][0] = _END

    def is_end(self, minibatch: int) -> bool:
        """Say whether the slot says that there is no such minibatch."""
        return bool(self._flags[minibatch % self.slots][0] == _END)

    def message(self, minibatch: int) -> Tensor:
        """Return a minibatch's whole slot as bytes, ``(slot_bytes,)``."""
        start = self._starts[minibatch % self.slots]
        return torch.frombuffer(self._buffer, dtype=torch.uint8, count=self.slot_bytes, offset=start)

    def blank(self) -> list[Tensor]:
        """Fill all slots with zeros, so that the kernel hands out their pages now, and return the tensors of one."""
        for header, tensors in zip(self._headers, self._tensors, strict=True):
            header.zero_()
            for tensor in tensors:
                tensor.zero_()
        return self._tensors[0]

    def _shaped(self, slot: int) -> list[Tensor]:
        """Return the slot's tensors as its header describes them."""
        words = self._flags[slot][_FIRST_SHAPE:].tolist()
        tensors = []
        for spec, offset in zip(self.specs, slot_offsets(self._first[slot], self.specs), strict=True):
            dimensions = len(spec.shape)
            shape, stride = words[:dimensions], words[dimensions : 2 * dimensions]
            words = words[2 * dimensions :]
            count = math.prod(shape)
            flat = torch.empty(0, dtype=spec.dtype)
            if count:
                flat = torch.frombuffer(self._buffer, dtype=spec.dtype, count=count, offset=offset)
            tensors.append(flat.as_strided(shape, stride))
        return tensors


def _dense_strides(tensor: Tensor, spec: TensorSpec) -> tuple[int, ...]:
    """Return the strides of a dense tensor in the memory format of ``tensor``."""
    if tensor.dtype != spec.dtype or tensor.dim() != len(spec.shape) or tensor.nbytes > spec.bytes:
        raise RunError(
            f"layer '{spec.name}' gives {tuple(tensor.shape)} of {tensor.dtype}, which has no room where "
            f"{spec.shape} of {spec.dtype} was captured; capture with the largest minibatch"
        )
    return torch.empty_like(tensor, device="meta").stride()


def _header_bytes(specs: Sequence[TensorSpec]) -> int:
    words = _FIRST_SHAPE + sum(2 * len(spec.shape) for spec in specs)
    return -(-words * _WORD_BYTES // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _slot_bytes(specs: Sequence[TensorSpec]) -> int:
    return _header_bytes(specs) + slot_bytes(specs)
