"""Measure memory in fresh processes: what each layer needs for a moment, and the peak of whole training steps.

The first process returns all memory that it frees to the kernel at once, so its resident size is what is alive. It runs
a step layer by layer and reads, at every border, the peak since the last one. What lies above

    rest + Σ saved(u), u up to the layer + (in the backward) Σ parameter gradients(u), u from the layer on

is the layer's transient: scratch of its kernels, and values and gradients on their way. The second one is settled as a
stage is before it trains, and the peak of whole steps is read, layer by layer as a stage runs them. That is parameters
+ gradients + momentum + saved + largest transient and, beyond them, holes of the heap and what kernels keep, which a
stage's heap has, too.

What a layer saves for its backward is read off autograd in one untimed forward. A storage counts once, at the layer
that produced it, whichever layer saves it; parameters and the model's input do not count.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import accumulate
from multiprocessing.connection import Connection
from typing import TypeVar

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from profiler.capture import captured_model, minibatch
from profiler.execution import Segment, WeightVersions, keeping_casts, leaves, run_layer, storage_of
from profiler.execution.layer import Values
from profiler.machine import Helper, PeakMemory, blaming, helper, pin, return_memory_at_once, use_torch_once
from profiler.measure.stepper import Stepper, stepper_for
from profiler.profile import PLAIN_FORM, Form
from profiler.settings import Config

STEPS = 3
Found = TypeVar("Found")
Work = Callable[[Stepper, PeakMemory, int], Found]
"""Reads memory off steps, given the size of the process without the model."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory that a training step needs.

    Attributes:
        transient_bytes: Per layer, in captured order.
        peak_bytes: Of whole steps, above an empty process.
    """

    transient_bytes: tuple[int, ...]
    peak_bytes: int
    digest: str


def transients_measured(config: Config, form: Form = PLAIN_FORM) -> AbstractContextManager[Helper]:
    """Measure what each layer needs for a moment, in a fresh process, for as long as the context lasts."""
    return helper(_prepared, _transients, config, None, form)


def peak_measured(config: Config, core: int, form: Form = PLAIN_FORM) -> AbstractContextManager[Helper]:
    """Measure the peak of whole steps, likewise, on ``core``."""
    return helper(_prepared, _peak, config, core, form)


def memory_of(transients: tuple[tuple[int, ...], str] | None, peak: tuple[int, str] | None) -> Memory | None:
    """Return what two processes measured; None where the kernel cannot forget the highest memory that one had."""
    return Memory(transients[0], *peak) if transients and peak else None


def _prepared(
    _connection: Connection,
    work: Work[Found],
    config: Config,
    core: int | None,
    form: Form,
) -> tuple[Found, str] | None:
    return_memory_at_once()
    torch.set_num_threads(1)
    use_torch_once()
    captured = captured_model(config, form)
    memory = PeakMemory()
    if not memory.forget_peak():
        return None
    if core is not None:
        pin(core)  # before anything is made that a stage would make
    state = [*captured.model.parameters(), *captured.model.buffers()]
    empty = memory.resident_bytes() - sum(tensor.nbytes for tensor in state)
    batch = minibatch(config, captured)
    stepper = stepper_for(captured, batch, config.rule, slots=1)
    with blaming(config.name):
        return work(stepper, memory, empty), captured.digest


def _transients(stepper: Stepper, memory: PeakMemory, _empty: int) -> tuple[int, ...]:
    return transient_bytes(stepper, memory)


def _peak(stepper: Stepper, memory: PeakMemory, empty: int) -> int:
    """Return the peak of whole steps above a process without the model, its heap as a stage's is."""
    stepper.versions.place_gradients(stepper.segment.placeable)  # as a stage does
    memory.forget_peak()
    for _ in range(STEPS):
        stepper.instrumented_step(stepper.clock)
    return memory.peak_bytes() - empty


class _Peaks:
    """A clock that goes on by the peak since it was last read, so the difference of two readings is a peak."""

    def __init__(self, memory: PeakMemory) -> None:
        self._memory, self._sum = memory, 0.0

    def __call__(self) -> float:
        self._sum += self._memory.peak_bytes()
        self._memory.forget_peak()
        return self._sum


def transient_bytes(stepper: Stepper, memory: PeakMemory) -> tuple[int, ...]:
    """Return what each layer needs for a moment, in a process that returns memory at once."""
    reading = _Peaks(memory)
    stepper.instrumented_step(reading)
    rest = memory.resident_bytes()
    forward, backward, _ = stepper.instrumented_step(reading)
    saved = list(accumulate(saved_bytes(stepper.segment, stepper.versions, stepper.received())))
    learning = [stepper.captured.learning_bytes(operation.name) for operation in stepper.segment.operations]
    gradients = _from_the_end(learning)
    transients = []
    for at, kept in enumerate(saved):
        above = max(forward[at] - rest - kept, backward.get(at, 0.0) - rest - kept - gradients[at])
        transients.append(max(0, int(above)))
    return tuple(transients)


def _from_the_end(sizes: Sequence[int]) -> list[int]:
    return list(accumulate(reversed(sizes)))[::-1]


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
