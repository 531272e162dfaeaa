"""The state that training starts from, in one shared memory: parameters, buffers, momenta and counts, by path."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from profiler.execution import (
    TensorSpec,
    count_name,
    fill,
    moment_name,
    slot_bytes,
    slot_offsets,
    slot_tensors,
    spec_of,
)
from runtime.channels import SharedMemory


class SharedState:
    """Tensors by name in one shared memory.

    Attributes:
        specs: How they lie there.
        memory: Where.
    """

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        """Make room for tensors that look like ``specs``."""
        self.specs = tuple(specs)
        self.memory = SharedMemory.create(slot_bytes(self.specs))

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> "SharedState":
        """Return copies of some tensors."""
        shared = cls([spec_of(name, tensor) for name, tensor in state.items()])
        fill(list(shared.tensors().values()), [tensor.detach() for tensor in state.values()])
        return shared

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors where they lie, by name."""
        views = slot_tensors(self.memory.memory, 0, self.specs)
        return {spec.name: tensor for spec, tensor in zip(self.specs, views, strict=True)}

    def copies(self) -> dict[str, Tensor]:
        """Return copies of the tensors, by name."""
        return {name: tensor.clone() for name, tensor in self.tensors().items()}

    def regions(self, own: set[str]) -> list[tuple[int, int]]:
        """Return where what belongs to these paths lies, as offsets and sizes in bytes."""
        starts = zip(self.specs, slot_offsets(0, self.specs), strict=True)
        return [(start, spec.bytes) for spec, start in starts if spec.name.partition("@")[0] in own]

    def close(self) -> None:
        """Let go of the memory."""
        self.memory.close()


def momenta_specs(model: Sequence[TensorSpec], learning: frozenset[str], momenta: int) -> Iterator[TensorSpec]:
    """Yield what momenta and counts of a model's parameters look like.

    Args:
        model: Its parameters and buffers.
        learning: Those that the update changes.
        momenta: How many tensors the update rule keeps for each.
    """
    for spec in model:
        if spec.name in learning:
            for number in range(momenta):
                yield replace(spec, name=moment_name(spec.name, number))
            yield spec_of(count_name(spec.name), torch.tensor(0))
