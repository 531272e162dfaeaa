"""One stage: it runs forwards, backwards and updates of its layers on the weight versions that the schedule implies.

Where backwards are split, a backward leaves the gradients of weights as jobs, which are done minibatch by minibatch.

A received tensor is computed on where it lies, in its slot, as a leaf of autograd. Of what is sent only the place in
the autograd graph is kept, so an output that no layer saves is freed at once.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

import runtime.channels
from profiler.execution import Left, TensorSpec, WeightVersions, slot_tensors
from runtime.channels import Channel, SharedMemory
from runtime.errors import InputError, RunError
from runtime.worker.data import POOL
from runtime.worker.messages import Go, Load, Share

if TYPE_CHECKING:
    from runtime.channels import CommonNorm


@dataclass(frozen=True, slots=True)
class InFlight:
    """A minibatch between its forward and its backward; ``seed`` is the gradient of the loss, in the last stage."""

    leaves: list[Tensor]
    roots: list[GradientEdge]
    version: int
    seed: Tensor | None


class Stage:
    """The layers of one stage, their weight versions and their minibatches in flight.

    Attributes:
        losses: One a minibatch; ``last_loss`` is the last, and NaN before there is one.
        shares: What each minibatch that was fed is to its update, and its number of samples.
        used: The weight version that the last backward ran on.
        common_norm: What tells the norm of all stages' gradients; None where the update rule does not bound it.
    """

    def __init__(
        self,
        load: Load,
        own_inputs: Sequence[Tensor],
        own_targets: Sequence[Tensor],
        *,
        before: Channel | None,
        behind: Channel | None,
        inputs: Channel | None,
        targets: Channel | None,
    ) -> None:
        """Copy this stage's slice out of all weights.

        Args:
            load: What the stage is told.
            own_inputs: The inputs of the minibatches that the first stage makes itself, if it does.
            own_targets: Likewise, the targets in the last.
            before: The channel to the stage before, None in the first; likewise ``behind``.
            behind: To the stage behind.
            inputs: Where inputs come from, in the first stage, unless it makes its own.
            targets: Likewise, targets in the last.
        """
        self.load, self.before, self.behind, self.inputs, self.targets = load, before, behind, inputs, targets
        self._blank: Tensor | None = None
        self.first = 0
        self.minibatches: int | None = None
        self.losses: list[float] = []
        self.shares: list[tuple[Share, int]] = []
        self.last_loss = math.nan
        self._recorded = False
        segment = load.segment
        own = {*segment.parameters, *segment.constants}
        shared = zip(load.common.state, slot_tensors(load.common.weights.memory, 0, load.common.state), strict=True)
        state = {spec.name: tensor.clone() for spec, tensor in shared if spec.name.partition("@")[0] in own}
        self.constants = {path: state[path] for path in segment.constants}
        settings = load.common.settings
        self.versions = WeightVersions(
            segment.places, segment.parameters, state, load.versions, settings.rule,
            newest=load.common.updates, learning_rate=settings.learning_rate,
        )  # fmt: skip
        rule = load.common.pace.rule
        self.versions.place_gradients(segment.placeable)
        self._later = self.versions.leave_gradients(segment.separable if rule.splits else ())
        self._left: dict[int, list[Left]] = {}
        self._in_flight: dict[int, InFlight] = {}
        self.used = 0
        self._own_inputs, self._own_targets = own_inputs, own_targets
        self.common_norm = _common_norm(load) if settings.rule.clip_norm else None
        self._norms: dict[str, Tensor] = {}
        self._scale: Tensor | None = None

    def close(self) -> None:
        """Let go of all channels."""
        for channel in (self.before, self.behind, self.inputs, self.targets):
            if channel:
                channel.close()

    def forward(self, minibatch: int, received: list[Tensor]) -> list[Tensor]:
        """Run the forward and return what has to be sent; nothing in the last stage.

        Args:
            minibatch: Its number.
            received: What came from the stage before.
        """
        segment = self.load.segment
        version = self.versions.bind()
        if self.before is self.inputs is None:
            received = [self._own_inputs[minibatch % POOL]]
        leaves = [
            tensor.detach().requires_grad_(spec.gradient)
            for spec, tensor in zip(segment.receives, received, strict=True)
        ]
        values = {spec.name: leaf for spec, leaf in zip(segment.receives, leaves, strict=True)}
        segment.forward(values, self.versions.attributes, self.load.common.data.seed, self.first + minibatch)
        outputs, seed = [], None
        if segment.outputs:
            targets, weight = self._targets(minibatch)
            result = segment.loss([values[name] for name in segment.outputs], targets)
            self._keep_loss(minibatch, float(result.detach()))
            seed = torch.full_like(result, weight)
            roots = [get_gradient_edge(result)]
        else:
            outputs = [values[spec.name] for spec in segment.sends]
            roots = [get_gradient_edge(values[spec.name]) for spec in segment.sends if spec.gradient]
        self._in_flight[minibatch] = InFlight(leaves, roots, version, seed)
        return [output.detach() for output in outputs]

    def backward(self, minibatch: int, received: list[Tensor]) -> list[Tensor]:
        """Run the backward from the gradients ``received`` and return those that have to be sent."""
        flight = self._in_flight.pop(minibatch)
        with self._later.leaving() as left:
            if flight.roots:
                torch.autograd.backward(flight.roots, received if flight.seed is None else [flight.seed])
        if left:
            self._left[minibatch] = left
        self.used = flight.version
        if self.load.common.pace.update_every > 1:  # a gradient may be a view of what was received
            self.versions.keep_gradients(self.used, received)
        learning = [leaf for leaf in flight.leaves if leaf.requires_grad]
        return [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in learning]

    def add_weight_gradients(self, minibatch: int) -> None:
        """Compute the gradients of weights that a backward has left, and add them to those of minibatches before."""
        left = self._left.pop(minibatch, [])
        while left:
            left.pop(0).add()  # and let go of what that kept alive

    def update(self) -> int:
        """Write the next weight version from the gradients of the last backward, and return its number."""
        return self.versions.update(self.used, self._scale)

    def take_norms(self) -> None:
        """Work out the norms of the gradients that the next update is made of."""
        self._norms = self.versions.norms(self.used, self.load.segment.parameters)

    def share_norms(self) -> None:
        """Wait for the norms of all other stages, and so for their backwards; the next update is scaled by them all."""
        assert self.common_norm
        self._scale = self.common_norm.scale(self._norms)

    def begin(self, go: Go) -> None:
        """Get ready for a run."""
        self.minibatches, self.first = go.minibatches, go.first
        if self.targets:
            for minibatch in go.unread:
                self.targets.activations.receive(minibatch)
        self.losses.clear()
        self.shares.clear()
        self.last_loss, self._recorded = math.nan, go.recorded
        for channel in (self.before, self.behind):
            if channel:
                channel.begin(go.minibatches)

    def _keep_loss(self, minibatch: int, loss: float) -> None:
        """Note a loss; one that is no finite number ends training."""
        self.last_loss = loss
        self.losses.append(loss)
        if self._recorded or self._blank is not None or math.isfinite(loss):
            return
        number = self.shares[-1][0].minibatch if self.shares else self.first + minibatch
        raise RunError(
            f"the loss of minibatch {number} is no number ({loss}): training diverged, or data or weights were not "
            "finite to begin with; lower lr in a configuration file, and go on from the last checkpoint"
        )

    def release(self, minibatch: int) -> None:
        """Tell the parent process that inputs and targets of a minibatch are done with."""
        for channel in (self.inputs, self.targets):
            if channel:
                channel.gradients.put(minibatch, [])
                channel.gradients.announce(minibatch)

    def warm_up(self) -> None:
        """Run every shape once, as deep as the stage goes, without a trace in weights, buffers or losses."""
        buffers = {path: tensor.clone() for path, tensor in self.constants.items()}
        self._blank = self.targets.activations.blank()[0] if self.targets else next(iter(self._own_targets), None)
        source = self.before or self.inputs
        received = source.activations.blank() if source else []
        back = self.behind.gradients.blank() if self.behind else []
        if self.before:
            self.before.gradients.blank()
        if self.behind:
            self.behind.activations.blank()
        held, common = self.load.in_flight, self.load.common
        ahead = min(held, common.pace.ahead(common.stages, self.load.stage))
        flights: deque[InFlight] = deque()
        left: list[list[Left]] = []
        for number in range(held + ahead):
            if number >= ahead:
                left.append(self._warm_backward(flights.popleft(), back))
            if number < held:
                flights.append(self._warm_forward(received))
        for own in left:
            self._left[0] = own
            self.add_weight_gradients(0)
        self.versions.drop_gradients()
        self._blank = None
        for path, tensor in self.constants.items():
            tensor.copy_(buffers[path])

    def export(self, target: SharedMemory, state: Sequence[TensorSpec]) -> None:
        """Write what this stage has of ``state`` into ``target``."""
        own = self.versions.state()
        for spec, tensor in zip(state, slot_tensors(target.memory, 0, state), strict=True):
            if spec.name in own:
                tensor.copy_(own[spec.name].detach())

    def _warm_forward(self, received: list[Tensor]) -> InFlight:
        self.forward(0, received)
        return self._in_flight.pop(0)

    def _warm_backward(self, flight: InFlight, received: list[Tensor]) -> list[Left]:
        if self.load.common.pace.update_every == 1:
            self.versions.drop_gradients()  # as the update does that is left out here
        self._in_flight[0] = flight
        self.backward(0, received)
        return self._left.pop(0, [])

    def _targets(self, minibatch: int) -> tuple[Tensor, float]:
        """Return a minibatch's targets, and what its loss counts in its update."""
        if self._blank is not None:
            return self._blank, 1 / self.load.common.pace.update_every
        if self.targets:
            received = self.targets.activations.receive(minibatch)
            if received is None:
                raise InputError(
                    f"the data of the last rank end after {minibatch} minibatches, and those of the first go on; let "
                    "all ranks read the same"
                )
            targets, share = received[0], Share.of(received[1])
            self.shares.append((share, len(targets)))
            return targets, share.weight
        every = self.load.common.pace.update_every
        assert self.minibatches is not None
        return self._own_targets[minibatch % POOL], 1 / min(every, self.minibatches - minibatch // every * every)


def _common_norm(load: Load) -> "CommonNorm":
    parameters = [spec.name for spec in load.common.state if "@" not in spec.name]
    return runtime.channels.CommonNorm(parameters, load.common.settings.rule.clip_norm)
