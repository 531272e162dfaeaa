"""The channel between two neighbouring stages: activations go down, gradients come up.

What is received stays as it is until that minibatch's backward is over; no message ever says that a slot is free, for
the order of the schedule proves it (``optimizer.schedule.stage_requirements``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from profiler.execution import TensorSpec


@dataclass(frozen=True, slots=True)
class Cut:
    """The tensors that cross one cut, and the slots for them.

    Attributes:
        values: Every value that crosses; gradients flow back to those that have any.
        activation_slots: Slots for activations.
        gradient_slots: Slots for gradients.
        in_flight: Minibatches that the stage behind the cut holds at once.
    """

    values: "tuple[TensorSpec, ...]"
    activation_slots: int
    gradient_slots: int
    in_flight: int

    @property
    def gradients(self) -> "tuple[TensorSpec, ...]":
        """The values that a gradient flows back to."""
        return tuple(spec for spec in self.values if spec.gradient)


class Direction(Protocol):
    """One direction over a cut, activations down or gradients up: one stage sends, the other receives."""

    def put(self, minibatch: int, tensors: "Sequence[Tensor]", *, ends_update: bool = False) -> None:
        """Copy a minibatch's tensors to where they are handed over."""

    def announce(self, minibatch: int) -> None:
        """Hand over what was put there; waits only for a neighbour that is hundreds of minibatches behind."""

    def fileno(self) -> int:
        """Return the descriptor that can be read from once the next minibatch is there, if it is being awaited."""

    def await_next(self, minibatch: int) -> None:
        """Be ready to take the next minibatch; ``fileno`` says when it is there."""

    def receive(self, minibatch: int) -> "list[Tensor] | None":
        """Wait until the neighbour has sent a minibatch's tensors, and return them; None if it says there are none."""

    def ends_update(self, minibatch: int) -> bool:
        """Say whether a minibatch that was received is the last that an update takes."""

    def end(self) -> None:
        """Tell the neighbour that there are no more minibatches, where it does not know how many there are."""

    def blank(self) -> "list[Tensor]":
        """Return zeros where the tensors are going to lie, for a warm-up."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One stage's end of the channel to a neighbour.

    Attributes:
        begin: To be called before a run with its number of minibatches, None if nobody knows it yet.
        close: Lets go of what the channel holds.
    """

    activations: Direction
    gradients: Direction
    begin: Callable[[int | None], None]
    close: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendezvous:
    """The address at which gloo's ranks meet: a store.

    Attributes:
        host: Where it is; ``port``, at which port.
        prefix: What its keys begin with, for one store may serve several.
        interface: The network interface that messages of this rank go through.
    """

    host: str
    port: int
    prefix: str
    interface: str
