"""Time training steps layer by layer: rounds of one plain and one instrumented step of the same segment.

The instrumented step is the step that a stage runs, with a clock read between layers. Backward is one call into
autograd, as in a stage; a hook on each layer's last graph node tells when the engine arrives there, so every interval
of the backward belongs to the layer it started with, gradient accumulation included, and the parts add up to the whole.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from profiler.execution import (
    LOWER,
    Captured,
    Operation,
    Segment,
    WeightVersions,
    has_place,
    keeping_casts,
    leaves,
    run_layer,
    whole,
)
from profiler.execution.gradient_place import GradientPlace, place_of
from profiler.execution.layer import Values
from profiler.measure.casts import casts
from profiler.profile import INPUT
from profiler.rounds import LOSS, Clock, Samples
from profiler.settings import UpdateRule

Job = Callable[[], Any]


WARM_UP_ROUNDS = 2
IN_PLACE_PASSES = 7


def stepper_for(captured: Captured, batch: tuple[Tensor, Tensor], rule: UpdateRule, slots: int) -> "Stepper":
    """Return a stepper for the whole of ``captured`` with a ring of ``slots`` weight versions."""
    segment = whole(captured)
    state = dict(captured.model.named_parameters()) | dict(captured.model.named_buffers())
    versions = WeightVersions(segment.places, segment.parameters, state, slots, rule)
    return Stepper(captured, segment, versions, batch)


class Stepper:
    """Runs training steps of a whole model, plain or instrumented."""

    def __init__(
        self, captured: Captured, segment: Segment, versions: WeightVersions, batch: tuple[Tensor, Tensor]
    ) -> None:
        """Prepare to train ``captured`` on one minibatch of inputs and labels over and over."""
        self.captured, self.segment, self.versions = captured, segment, versions
        self.clock, self.cpu_clock = time.perf_counter, time.process_time
        self.inputs, self.labels = batch
        self.minibatch = 0

    def warm_up(self) -> None:
        """Run rounds that are not kept."""
        for _ in range(WARM_UP_ROUNDS):
            self.plain_step()
            self.instrumented_step()

    def take(self, samples: Samples) -> None:
        """Run one plain and one instrumented step and put their times into ``samples``."""
        cpu = self.cpu_clock()
        whole_step = self.plain_step()
        cpu = self.cpu_clock() - cpu
        times = self.instrumented_step()
        for own, store in zip(times, (samples.forward, samples.backward, samples.update), strict=True):
            for position, time_s in own.items():
                store.setdefault(position, []).append(time_s)
        samples.whole_step.append(whole_step)
        samples.whole_step_cpu.append(cpu)

    def in_place_shares(self) -> list[float]:
        """Return for each layer what an update in place takes of one that writes the next version beside.

        Both are timed in turn on the gradients of one step, pass by pass over all layers, as an update goes.
        """
        used = self._plain_backward()
        gradients = self.versions.gradients(used)
        shares: list[list[float]] = [[] for _ in self.segment.operations]
        for _ in range(IN_PLACE_PASSES):
            beside, in_place = (
                self._pass(used, gradients, write)
                for write in (self.versions.write, partial(self.versions.write, in_place=True))
            )
            for position, share in enumerate(shares):
                share.append(in_place[position] / beside[position] if beside[position] else 1.0)
        return [median(share) for share in shares]

    def accumulation_s(self) -> list[float]:
        """Return for each layer what adding its gradients to earlier ones takes more than writing them anew.

        Both are timed in turn on the gradients of one step, pass by pass over all layers. Where the gradient has a
        place that is a difference of two products, of values that are drawn.
        """
        used = self._plain_backward()
        gradients = self.versions.gradients(used)
        layers = [self._accumulating(operation, gradients) for operation in self.segment.operations]
        samples: list[list[float]] = [[] for _ in layers]
        for _ in range(IN_PLACE_PASSES):
            anew, added = (self._timed([kind[at] for kind in layers]) for at in (0, 1))
            for store, first, second in zip(samples, anew, added, strict=True):
                store.append(second - first)
        self.versions.drop_gradients()
        return [median(store) for store in samples]

    def casting_s(self) -> list[float]:
        """Return for each layer what casting its weights to bfloat16 takes, pass by pass over all layers."""
        layers = [[partial(tensor.to, LOWER) for tensor in own] for own in self.weights_cast()]
        passes = [self._timed(layers) for _ in range(IN_PLACE_PASSES)]
        return [median(times) for times in zip(*passes, strict=True)]

    def cast_bytes(self) -> list[int]:
        """Return for each layer what the casts of its weights take, whoever makes them."""
        layers = []
        for operation, own in zip(self.segment.operations, self.weights_cast(), strict=True):
            placed = self._placed_weight(operation) if operation.autocast == "on" else ""
            tensors = [*own, self.versions.tensors()[placed]] if placed else own
            layers.append(LOWER.itemsize * sum(tensor.numel() for tensor in tensors))
        return layers

    def weights_cast(self) -> list[list[Tensor]]:
        """Return for each layer its weights whose cast in the forward is kept for the version.

        Updates cast those that have a place; the cast of one that does not learn is not kept.
        """
        self.versions.bind()
        learning = {tensor.data_ptr(): tensor for tensor in self.versions.tensors().values()}
        values, layers = self.received(), []
        with keeping_casts():
            for operation in self.segment.operations:
                with casts(LOWER) as addresses:
                    run_layer(operation, values, self.versions.attributes, 0, self.minibatch)
                own = [learning[address] for address in dict.fromkeys(addresses) if address in learning]
                layers.append(own if operation.autocast == "on" else [])
        return layers

    def _accumulating(self, operation: Operation, gradients: Mapping[str, Tensor]) -> tuple[list[Job], list[Job]]:
        """Return what writes a layer's gradients anew, as far as adding does it again, and what adds them."""
        like, placed = self.versions.tensors(), self._placed_weight(operation)
        anew: list[Job] = []
        added: list[Job] = []
        for path in (path for path in self._learning(operation) if path in gradients):
            gradient = gradients[path]
            if path == placed and operation.autocast == "on":
                added.append(partial(gradient.add_, torch.randn(gradient.shape).to(LOWER)))
            elif path == placed:
                inputs, outputs = (
                    torch.randn(self.captured.specs[name].shape) for name in (operation.reads()[0], operation.name)
                )
                assert isinstance(operation.target, nn.Linear)
                weight = operation.target.weight
                place = place_of(weight)
                assert isinstance(weight, nn.Parameter)
                assert place is not None
                anew.append(partial(_write_anew, place, weight, outputs.t(), inputs))
                added.append(partial(place.add, weight, outputs.t(), inputs))
            else:
                added.append(partial(gradient.add_, like[path]))
        return anew, added

    def _placed_weight(self, operation: Operation) -> str:
        """Return the path of a layer's weight whose gradient has a place; nothing where there is none."""
        reads = operation.reads()
        spec = self.captured.specs.get(reads[0]) if reads else None
        if spec is None or not has_place(operation.target, torch.empty(spec.shape, device="meta")):
            return ""
        module = operation.target
        return next(place.path for place in self.segment.places if place.module is module and place.local == "weight")

    def _timed(self, layers: Sequence[Sequence[Job]]) -> list[float]:
        times = []
        for jobs in layers:
            start = self.clock()
            for job in jobs:
                job()
            times.append(self.clock() - start if jobs else 0.0)
        return times

    def _learning(self, operation: Operation) -> list[str]:
        return [path for path in self.captured.parameters[operation.name] if path in self.captured.learning]

    def _pass(
        self, used: int, gradients: Mapping[str, Tensor], write: Callable[[int, list[str]], None]
    ) -> dict[int, float]:
        self.versions.give_gradients(used, gradients)
        return self._written(used, write)

    def plain_step(self) -> float:
        """Run model, loss, backward and update as anyone would, and return how long it took."""
        start = self.clock()
        used = self._plain_backward()
        self.versions.update(used)
        self.minibatch += 1
        return self.clock() - start

    def instrumented_step(self) -> tuple[dict[int, float], dict[int, float], dict[int, float]]:
        """Run the same step layer by layer; return what forward, backward and update took, by the layer's position."""
        used = self.versions.bind()
        forward, events, loss = self._instrumented_forward()
        backward = self._backward(loss, events)
        return forward, backward, self._update(used)

    def split_step(self) -> tuple[dict[int, float], dict[int, float], dict[int, float], dict[int, int]]:
        """Run a step whose backward is in two, as a stage does that splits it.

        Returns:
            By layer: what the forward took, the backward but for what it left, and that; and the bytes that it held
            until then, of inputs and gradients that no layer behind it holds.
        """
        used = self.versions.bind()
        with self.versions.leaving(self.segment.separable) as left:
            forward, events, loss = self._instrumented_forward()
            backward = self._backward(loss, events)
            del loss
            weights: dict[int, float] = {}
            held: dict[int, int] = {}
            seen: set[int] = set()
            for own in left:
                position = self._position_of(own.parameters[0])
                storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in own.holds}
                held[position] = sum(storage.nbytes() for key, storage in storages.items() if key not in seen)
                seen |= storages.keys()
            while left:
                own = left.pop(0)
                start = self.clock()
                own.add()
                weights[self._position_of(own.parameters[0])] = self.clock() - start
        self._update(used)
        return forward, backward, weights, held

    def _position_of(self, weight: nn.Parameter) -> int:
        """Return the place of the layer that reads a weight."""
        operations = enumerate(self.segment.operations)
        return next(at for at, own in operations if getattr(own.target, "weight", None) is weight)

    def _instrumented_forward(self) -> tuple[dict[int, float], list[tuple[float, int]], Tensor]:
        """Run the forward; return what each layer took, where the backward notes how far it is, and the loss."""
        events: list[tuple[float, int]] = []
        values = self.received()
        forward: dict[int, float] = {}
        hooked: set[Node] = set()
        with keeping_casts():
            for position, (operation, dead) in enumerate(zip(self.segment.operations, self.segment.drops, strict=True)):
                start = self.clock()
                run_layer(operation, values, self.versions.attributes, 0, self.minibatch)
                output = values[operation.name]
                for name in dead:
                    del values[name]
                forward[position] = self.clock() - start
                _watch(output, position, events, self.clock, hooked)
                del output
        start = self.clock()
        loss = self.captured.loss([values[name] for name in self.captured.outputs], self.labels)
        values.clear()
        forward[LOSS] = self.clock() - start
        return forward, events, loss

    def received(self) -> Values:
        """Return what the segment receives."""
        return {INPUT: self.inputs}

    def _plain_backward(self) -> int:
        """Run model, loss and backward on the newest version, and return its number."""
        used = self.versions.bind()
        self._bind_attributes()
        self._plain_loss().backward()  # type: ignore[no-untyped-call]
        return used

    def _plain_loss(self) -> Tensor:
        """Return the loss of the model as it stands; in another precision, of its layers as a stage runs them."""
        if not self.captured.form.lowered:
            return self.captured.loss.of(self.captured.run(self.inputs), self.labels)
        values = self.received()
        self.segment.forward(values, self.versions.attributes, 0, self.minibatch)
        return self.captured.loss([values[name] for name in self.captured.outputs], self.labels)

    def _bind_attributes(self) -> None:
        """Let the model's own forward, too, read the bound version of what it reads directly."""
        canonical = self.captured.canonical
        bound = {canonical[path]: tensor for path, tensor in self.versions.attributes.items()}
        for path in (path for path, first in canonical.items() if isinstance(bound.get(first), nn.Parameter)):
            owner, _, local = path.rpartition(".")
            setattr(self.captured.model.get_submodule(owner), local, bound[canonical[path]])

    def _backward(self, loss: Tensor, events: list[tuple[float, int]]) -> dict[int, float]:
        times = dict.fromkeys(range(len(self.segment.operations)), 0.0)
        start = self.clock()
        torch.autograd.backward(loss)
        end = self.clock()
        marks = [(start, LOSS), *events, (end, LOSS)]
        for (begin, position), (following, _) in pairwise(marks):
            times[position] = times.get(position, 0.0) + following - begin
        return times

    def _update(self, used: int) -> dict[int, float]:
        times = self._written(used, self.versions.write)
        self.versions.advance()
        self.minibatch += 1
        return times

    def _written(self, used: int, write: Callable[[int, list[str]], None]) -> dict[int, float]:
        """Update layer by layer."""
        times = {}
        for position, operation in enumerate(self.segment.operations):
            paths = self._learning(operation)
            start = self.clock()
            if paths:
                write(used, paths)
            times[position] = self.clock() - start if paths else 0.0
        return times


def _write_anew(place: GradientPlace, weight: nn.Parameter, left: Tensor, right: Tensor) -> None:
    """Let a product be a weight's gradient."""
    weight.grad = None
    place.add(weight, left, right)


def _watch(output: Any, position: int, events: list[tuple[float, int]], clock: Clock, hooked: set[Node]) -> None:
    """Note when the backward arrives at the node that made ``output``; an identity layer has none of its own."""
    for tensor in leaves(output):
        node = tensor.grad_fn if isinstance(tensor, Tensor) else None
        if node is not None and node not in hooked:
            hooked.add(node)
            node.register_prehook(lambda _gradients: events.append((clock(), position)))
