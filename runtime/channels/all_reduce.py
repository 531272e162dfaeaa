"""Average gradients over the replicas of a stage, so that each has the same result, bit for bit.

An all-reduce in two steps: every replica gets one share of everybody's gradients and adds it up in the order of their
minibatches; then all shares go to everyone. A ring, as libraries have it, would add each share in another order, and no
replay could say in which.

Source: reduce-scatter and all-gather after Thakur, Rabenseifner and Gropp, "Optimization of collective communication
operations in MPICH", 2005.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from profiler.execution import ALIGNMENT_BYTES, TensorSpec, fill, slot_bytes, slot_tensors, spec_of
from runtime.channels.gloo import blaming_the_neighbour


class Averaging:
    """The gradients of one stage in one buffer for each type, and the group of replicas that average them."""

    def __init__(self, group: "dist.ProcessGroup", replicas: int, gradients: Mapping[str, Tensor]) -> None:
        """Make room.

        Args:
            group: All replicas of the stage, in the order of their minibatches.
            replicas: How many.
            gradients: Of the parameters that have any, by path: their shapes and types are kept to.
        """
        self._group = group
        specs = [spec_of(path, gradient) for path, gradient in gradients.items()]
        types = dict.fromkeys(spec.dtype for spec in specs)
        self._buffers = [_Buffer([spec for spec in specs if spec.dtype == kind], replicas) for kind in types]

    def wait(self) -> None:
        """Wait until all replicas are here."""
        with blaming_the_neighbour():
            dist.barrier(self._group)

    def average(self, gradients: Mapping[str, Tensor], present: int) -> dict[str, Tensor]:
        """Return the mean of the first ``present`` replicas' gradients, in tensors that live until the next call.

        Args:
            gradients: This replica's, by path; none where it had no minibatch.
            present: How many replicas had a minibatch; the first ones.
        """
        averages: dict[str, Tensor] = {}
        for buffer in self._buffers:
            if gradients:
                buffer.fill(gradients)
            with blaming_the_neighbour():
                buffer.reduce(self._group, present)
            averages |= buffer.tensors
        return averages


class _Buffer:
    """Gradients of one type."""

    def __init__(self, specs: Sequence[TensorSpec], replicas: int) -> None:
        kind = specs[0].dtype
        share = -(-slot_bytes(specs) // (replicas * ALIGNMENT_BYTES)) * ALIGNMENT_BYTES
        self._shares = torch.zeros(replicas, share // kind.itemsize, dtype=kind)
        self._received = torch.zeros_like(self._shares)
        held = slot_tensors(self._shares.view(-1).view(torch.uint8).numpy(), 0, specs)
        self.tensors = {spec.name: tensor for spec, tensor in zip(specs, held, strict=True)}

    def fill(self, gradients: Mapping[str, Tensor]) -> None:
        fill(list(self.tensors.values()), [gradients[path] for path in self.tensors])

    def reduce(self, group: "dist.ProcessGroup", present: int) -> None:
        dist.all_to_all_single(self._received, self._shares, group=group)
        total = self._received[0]
        for other in self._received[1:present]:
            total += other
        if present > 1:
            total *= 1 / present
        self._received[1:] = total  # for everyone; gloo's all_gather takes two to three times as long as this
        dist.all_to_all_single(self._shares, self._received, group=group)
