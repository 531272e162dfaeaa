"""One stage: it runs forwards, backwards and updates of its layers, with the weight version that each minibatch is due.

A received tensor is computed on where it lies, in its slot, as a leaf of autograd. Of what is sent only the place in
the autograd graph is kept, so an output that no layer saves is freed at once.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from profiler.execute import loss
from profiler.slot import fill, slot_tensors
from profiler.versions import WeightVersions
from runtime import data
from runtime.arena import Arena
from runtime.channel import Channel
from runtime.messages import Load


@dataclass(slots=True)
class InFlight:
    """A minibatch between its forward and its backward."""

    leaves: list[Tensor]
    roots: list[GradientEdge]


class Stage:
    """The layers of one stage, their weight versions and their minibatches in flight."""

    def __init__(self, load: Load, weights: Arena, before: Channel | None, behind: Channel | None) -> None:
        """Copy this stage's slice out of ``weights`` and make the data that the stage needs."""
        self.load, self.before, self.behind = load, before, behind
        self.losses: list[float] = []
        segment = load.segment
        own = {*segment.parameters, *segment.constants}
        shared = zip(load.state, slot_tensors(weights.memory, 0, load.state), strict=True)
        state = {spec.name: tensor.clone() for spec, tensor in shared if spec.name in own}
        self.constants = {path: state[path] for path in segment.constants}
        self.versions = WeightVersions(segment.places, segment.parameters, state, load.depth, load.rule)
        self._in_flight: dict[int, InFlight] = {}
        pool = min(load.minibatches, data.POOL)
        self._inputs = [
            data.inputs(load.seed, number, load.input_shape, load.vocabulary)
            for number in range(pool if not before else 0)
        ]
        self._labels = [
            data.labels(load.seed, number, load.input_shape[0], load.classes)
            for number in range(pool if segment.outputs else 0)
        ]

    def receive(self, minibatch: int) -> list[Tensor]:
        """Wait for what the forward of ``minibatch`` reads."""
        if self.before is None:
            return [self._inputs[minibatch % len(self._inputs)]]
        return self.before.receive_activations(minibatch)

    def forward(self, minibatch: int, received: list[Tensor]) -> list[Tensor]:
        """Run the forward and return what has to be sent; nothing in the last stage."""
        segment = self.load.segment
        self.versions.bind(self.versions.used_by(minibatch))
        leaves = [
            tensor.detach().requires_grad_(spec.gradient)
            for spec, tensor in zip(segment.receives, received, strict=True)
        ]
        values = {spec.name: leaf for spec, leaf in zip(segment.receives, leaves, strict=True)}
        segment.forward(values, self.versions.attributes, self.load.seed, minibatch)
        if segment.outputs:
            result = loss([values[name] for name in segment.outputs], self._labels[minibatch % len(self._labels)])
            self.losses.append(float(result.detach()))
            outputs, roots = [], [get_gradient_edge(result)]
        else:
            outputs = [values[spec.name] for spec in segment.sends]
            roots = [get_gradient_edge(values[spec.name]) for spec in segment.sends if spec.gradient]
        self._in_flight[minibatch] = InFlight(leaves, roots)
        return [output.detach() for output in outputs]

    def backward(self, minibatch: int, received: list[Tensor]) -> list[Tensor]:
        """Run the backward from the gradients ``received`` and return those that have to be sent."""
        flight = self._in_flight.pop(minibatch)
        gradients = [torch.ones(())] if self.load.segment.outputs else received
        if flight.roots:
            torch.autograd.backward(flight.roots, gradients)
        learning = [leaf for leaf in flight.leaves if leaf.requires_grad]
        return [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in learning]

    def update(self, minibatch: int) -> None:
        """Write the next weight version."""
        self.versions.update(minibatch)

    def warm_up(self) -> None:
        """Run every shape once, as deep as the stage goes, without a trace in weights, buffers or losses."""
        buffers = {path: tensor.clone() for path, tensor in self.constants.items()}
        for minibatch in range(self.load.depth):
            slot = minibatch % self.load.slots_before if self.before else 0
            received = self.before.activations[slot] if self.before else [self._inputs[0]]
            outputs = self.forward(minibatch, received)
            if self.behind:
                fill(self.behind.activations[minibatch % self.load.slots_behind], outputs)
        for minibatch in range(self.load.depth):
            self.backward(minibatch, self.behind.gradients[minibatch % self.load.slots_behind] if self.behind else [])
        self.versions.drop_gradients()
        self.losses.clear()
        for path, tensor in self.constants.items():
            tensor.copy_(buffers[path])

    def export(self, target: Arena) -> None:
        """Write the newest parameters and the buffers into ``target``, laid out as the arena they came from."""
        newest = self.versions.tensors(self.load.minibatches)
        for spec, tensor in zip(self.load.state, slot_tensors(target.memory, 0, self.load.state), strict=True):
            found = newest.get(spec.name, self.constants.get(spec.name))
            if found is not None:
                tensor.copy_(found.detach())
