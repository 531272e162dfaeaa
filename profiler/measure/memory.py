"""Measure the memory of whole training steps in a fresh process, and count what layers save for their backward.

The process returns all memory that it frees while it builds the model, and is then settled as a stage is before it
trains; the peak of whole steps is read, layer by layer as a stage runs them. That is parameters + gradients + momentum
+ saved and, beyond them, what layers need for a moment, holes of the heap and what kernels keep, which a stage's heap
has, too.

What a layer saves for its backward is read off autograd in one untimed forward. A storage counts once, at the layer
that produced it, whichever layer saves it; parameters and the model's input do not count.
"""

from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from profiler.capture import captured_model, minibatch
from profiler.execution import Segment, WeightVersions, keeping_casts, leaves, run_layer, storage_of
from profiler.execution.layer import Values
from profiler.machine import Helper, PeakMemory, blaming, helper, pin, return_memory_at_once, use_torch_once
from profiler.measure.stepper import stepper_for
from profiler.profile import PLAIN_FORM, Form
from profiler.settings import Config

STEPS = 3


class Memory(NamedTuple):
    """The peak of whole steps, above an empty process, and the digest and number of layers of the model there."""

    peak_bytes: int
    digest: str
    layers: int


def peak_measured(config: Config, core: int, form: Form = PLAIN_FORM) -> AbstractContextManager[Helper]:
    """Measure the memory of whole steps on ``core``, in a fresh process, for as long as the context lasts.

    What is received is a ``Memory``; None where the kernel cannot forget the highest memory that one had.
    """
    return helper(_peak, config, core, form)


def _peak(_connection: Connection, config: Config, core: int, form: Form) -> Memory | None:
    return_memory_at_once()
    torch.set_num_threads(1)
    use_torch_once()
    captured = captured_model(config, form)
    memory = PeakMemory()
    if not memory.forget_peak():
        return None
    pin(core)  # before anything is made that a stage would make
    state = [*captured.model.parameters(), *captured.model.buffers()]
    empty = memory.resident_bytes() - sum(tensor.nbytes for tensor in state)
    stepper = stepper_for(captured, minibatch(config, captured), config.rule, slots=1)
    with blaming(config.name):
        stepper.versions.place_gradients(stepper.segment.placeable)  # as a stage does
        memory.forget_peak()
        for _ in range(STEPS):
            stepper.instrumented_step()
    return Memory(memory.peak_bytes() - empty, captured.digest, len(captured.operations))


def saved_bytes(segment: Segment, versions: WeightVersions, received: Values) -> tuple[int, ...]:
    """Return what each layer of ``segment``, in its order, keeps of its own where the segment receives ``received``."""
    values = dict(received)
    excluded = {
        storage_of(tensor)
        for tensor in (*received.values(), *versions.tensors().values(), *versions.constants.values())
    }
    producers: dict[int, int] = {}
    saved: dict[int, int] = {}
    alive = []  # until the end, so that no address is used twice
    position = 0

    def keep(tensor: Tensor) -> None:
        key = storage_of(tensor)
        if key not in excluded and key not in saved:
            saved[key] = tensor.untyped_storage().nbytes()
            producers.setdefault(key, position)
        # The storage, not the tensor: the graph would hold a tensor that holds the graph, and neither were ever freed.
        alive.append(tensor.untyped_storage())

    versions.bind()
    with keeping_casts(), saved_tensors_hooks(keep, lambda kept: kept):  # no backward asks for them
        for position, operation in enumerate(segment.operations):
            run_layer(operation, values, versions.attributes, 0, 0)
            for output in leaves(values[operation.name]):
                if isinstance(output, Tensor):
                    producers.setdefault(storage_of(output), position)
    per_layer = [0] * len(segment.operations)
    for key, size in saved.items():
        per_layer[producers[key]] += size
    return tuple(per_layer)
