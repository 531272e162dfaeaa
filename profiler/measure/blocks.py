"""Measure layers in blocks: each cut layer by itself, with its own input and a gradient of its output's shape.

Blocks are measured, never divided: a narrower product has an efficiency of its own. All are measured in one process,
which is settled as a stage is; what they need for a moment is read before that, as for whole models.

Every round runs the layer whole, too. A block's time counts as a share of the whole's in the same round, times what the
whole took in the profile: so neither the machine's drift since then, nor what a layer by itself finds in the caches,
makes blocks look cheaper or dearer than the layer that they replace.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

import torch
from torch import Tensor

from profiler.capture import captured_model, sliced_model
from profiler.execution import Captured, TensorSpec, WeightVersions, segment_of
from profiler.execution.layer import Values
from profiler.machine import PeakMemory, blaming, helper, pin, return_memory_at_once, use_torch_once
from profiler.measure.assemble_profile import LayerMeasurements, layer_records
from profiler.measure.count_work import count_work
from profiler.measure.memory import transient_bytes
from profiler.measure.stepper import Clocks, Stepper
from profiler.profile import PLAIN_FORM, Form, Layer, Pieces, Precision, SlicedLayer, Slicing
from profiler.rounds import Clock, Samples
from profiler.rounds.time_budget import spend
from profiler.settings import Config

LEAST_ROUNDS = 3
OTHER_STEPS = 7
"""How many steps are taken beside the rounds: for memory, counts, and updates in place."""
LONGEST_S = 3.0
"""For how long rounds of one layer in so many blocks are run, if they are not so slow that the least take longer."""


def measure_blocks(
    config: Config,
    wanted: Sequence[tuple[Layer, Pieces]],
    core: int,
    until_s: float,
    advance: Callable[[float], None],
    *,
    precision: Precision = PLAIN_FORM.precision,
) -> tuple[SlicedLayer, ...]:
    """Measure layers cut into blocks, each by itself.

    Args:
        config: Model, batch size, input and update rule.
        wanted: Layers as profiled, each with its blocks; the last are left out where time is short.
        core: The core to measure on.
        until_s: When, by ``time.monotonic``, it is to be over: what would most likely take longer is not begun.
        advance: Called with shares of the work done, for a progress bar.
        precision: In which the model runs.
    """
    sliced: list[SlicedLayer] = []
    with helper(_measure, config, tuple(wanted), core, (until_s, precision)) as process:
        while (measured := process.receive()) is not None:
            sliced.append(measured)
            advance(1 / len(wanted))
    return tuple(sliced)


def _measure(
    connection: Connection,
    config: Config,
    wanted: tuple[tuple[Layer, Pieces], ...],
    core: int,
    limits: tuple[float, Precision],
) -> None:
    until_s, precision = limits
    return_memory_at_once()
    torch.set_num_threads(1)
    use_torch_once()
    captured, memory = captured_model(config, Form(precision=precision)), PeakMemory()
    begun = _in_time(wanted, until_s)
    transients: list[tuple[int, ...] | None] = []
    with blaming(config.name):
        for layer, pieces in begun:
            stepper = _stepper(captured, layer.name, pieces, config, slots=1)
            transients.append(transient_bytes(stepper, memory) if memory.forget_peak() else None)
        pin(core)
        for (layer, pieces), transient in zip(begun, transients, strict=True):
            whole, stepper = (_stepper(captured, layer.name, blocks, config, slots=2) for blocks in ((), pieces))
            counts, shares = count_work(stepper), stepper.in_place_shares()
            accumulation_s, casting_s = stepper.accumulation_s(), stepper.casting_s()
            whole.instrumented_step(whole.clock)
            rounds = _Pair(whole, stepper)
            spend(
                rounds.take, stepper.samples, LONGEST_S, stepper.clock, lambda _share: None,
                stages=len(pieces), least=LEAST_ROUNDS,
            )  # fmt: skip
            measured = LayerMeasurements(
                samples=_as_profiled(stepper.samples, whole.samples, layer),
                alone=Samples(),
                counts=counts,
                in_place_shares=shares,
                accumulation_s=accumulation_s,
                casting_s=casting_s,
                transient_bytes=transient,
            )
            parts = layer_records(stepper.captured, stepper.segment.operations, measured)
            connection.send(SlicedLayer(layer=layer.name, parts=parts))


def _in_time(wanted: Sequence[tuple[Layer, Pieces]], until_s: float) -> list[tuple[Layer, Pieces]]:
    """Return the first of ``wanted``, as many as there is most likely time for; all steps of a layer take alike."""
    begun, now_s = [], time.monotonic()
    for layer, pieces in wanted:
        now_s += max(LONGEST_S, 2 * LEAST_ROUNDS * layer.step_s) + OTHER_STEPS * layer.step_s
        if now_s > until_s:
            break
        begun.append((layer, pieces))
    return begun


def _stepper(captured: Captured, layer: str, pieces: Pieces, config: Config, slots: int) -> "BlockStepper":
    """Return a stepper for the blocks of one layer and their concat, or for the layer whole."""
    cut = sliced_model(captured, Slicing.of({layer: pieces})) if pieces else captured
    names = [name for name in cut.layer_names if name == layer or name.rpartition(".")[0] == layer]
    (received,) = next(operation for operation in cut.operations if operation.name == names[0]).reads()
    segment = segment_of(cut, names, [received], [names[-1]])
    state = dict(cut.model.named_parameters())
    versions = WeightVersions(segment.places, segment.parameters, state, slots, replace(config.rule, lr=0.0))
    versions.place_gradients(segment.placeable, fused=True)
    generator = torch.Generator().manual_seed(0)
    return BlockStepper(
        cut,
        segment,
        versions,
        (_like(cut.specs[received], generator), _like(cut.specs[names[-1]], generator)),
        Clocks(),
    )


@dataclass(frozen=True, slots=True)
class _Pair:
    """The layer whole and in blocks, in turn."""

    whole: "BlockStepper"
    blocks: "BlockStepper"

    def take(self) -> None:
        """Time one training step of the layer whole and one of its blocks."""
        self.whole.round()
        self.blocks.round()


def _as_profiled(blocks: Samples, whole: Samples, profiled: Layer) -> Samples:
    """Return the blocks' times as shares of the whole's in the same rounds, times what that took in the profile."""
    return Samples(
        forward=_shares(blocks.forward, whole.forward[0], profiled.forward_s),
        backward=_shares(blocks.backward, whole.backward[0], profiled.backward_s),
        update=_shares(blocks.update, whole.update[0], profiled.update_s),
    )


def _shares(blocks: dict[int, list[float]], whole: Sequence[float], profiled_s: float) -> dict[int, list[float]]:
    factors = [profiled_s / own_s if own_s else 1.0 for own_s in whole]
    return {
        position: [time_s * factor for time_s, factor in zip(times_s, factors, strict=True)]
        for position, times_s in blocks.items()
    }


def _like(spec: TensorSpec, generator: torch.Generator) -> Tensor:
    """Return a tensor of the shape, strides and type of ``spec``, filled with normally distributed values."""
    return torch.empty_strided(spec.shape, spec.stride, dtype=spec.dtype).normal_(generator=generator)


class BlockStepper(Stepper):
    """Runs training steps of one layer's blocks; ``labels`` is the gradient that comes back to their concat."""

    def take(self, samples: Samples) -> None:
        """Run one step with a clock around every layer, and put its times into ``samples``."""
        self.keep(self.instrumented_step(self.clock), samples)

    def received(self) -> Values:
        """Return the input, a leaf of autograd as in a stage."""
        spec = self.segment.receives[0]
        return {spec.name: self.inputs.detach().requires_grad_(spec.gradient)}

    def _root(self, values: Values) -> tuple[Tensor, Tensor | None]:
        return values[self.segment.sends[0].name], self.labels

    def _backward(
        self, root: Tensor, gradient: Tensor | None, events: list[tuple[float, int]], clock: Clock
    ) -> dict[int, float]:
        if root.requires_grad:
            return super()._backward(root, gradient, events, clock)
        return dict.fromkeys(range(len(self.segment.operations)), 0.0)  # frozen, and nothing before it learns

    def _plain_backward(self) -> int:
        used = self.versions.bind()
        values = self.received()
        self.segment.forward(values, self.versions.attributes, 0, self.minibatch)
        self._backward(*self._root(values), [], self.clock)
        return used
