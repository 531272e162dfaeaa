"""The channel between two neighbouring stages: activations go down, gradients come up.

What is received stays as it is until that minibatch's backward is over; no message ever says that a slot is free, for
the order of the schedule proves it (``optimizer.schedule.requirements``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from profiler.execution import TensorSpec


@dataclass(frozen=True, slots=True)
class Cut:
    """What crosses one cut, and how many slots it takes.

    Attributes:
        values: Every value that crosses; gradients flow back to those that have any.
        activation_slots: Slots for activations.
        gradient_slots: Slots for gradients.
        in_flight: Minibatches between forward and backward in the stage behind the cut.
    """

    values: tuple[TensorSpec, ...]
    activation_slots: int
    gradient_slots: int
    in_flight: int

    @property
    def gradients(self) -> tuple[TensorSpec, ...]:
        """The values that a gradient flows back to."""
        return tuple(spec for spec in self.values if spec.gradient)


class Channel(Protocol):
    """One stage's end of the channel to a neighbour, of whose four verbs it uses the two on its side of the cut.

    Sending copies once and does not wait for the neighbour, unless that is hundreds of minibatches behind; receiving
    waits until the neighbour has sent.
    """

    def send_activations(self, minibatch: int, tensors: Sequence[Tensor]) -> None:
        """Send a minibatch's activations to the next stage."""

    def send_gradients(self, minibatch: int, tensors: Sequence[Tensor]) -> None:
        """Send a minibatch's gradients to the previous stage."""

    def receive_activations(self, minibatch: int) -> list[Tensor]:
        """Wait for a minibatch's activations."""

    def receive_gradients(self, minibatch: int) -> list[Tensor]:
        """Wait for a minibatch's gradients."""

    def blank_activations(self) -> list[Tensor]:
        """Return zeros where activations lie, for a warm-up."""

    def blank_gradients(self) -> list[Tensor]:
        """Return zeros where gradients lie, for a warm-up."""

    def close(self) -> None:
        """Let go of what the channel holds."""
