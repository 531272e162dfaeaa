"""What the parent and its stage processes say to each other.

Messages are pickled here, not by multiprocessing, whose tensor pickles go through named shared memory. Descriptors of
shared memory and sockets follow a ``Load`` one by one.
"""

import pickle
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

from optimizer.schedule import Action
from profiler.operations import TensorSpec
from profiler.segment import Segment
from profiler.update import UpdateRule
from runtime.types import ActionRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Become a stage.

    Attributes:
        segment: What to run; its parameters and buffers are on the meta device.
        state: Where parameters and buffers lie in the first arena that follows.
        depth: Weight versions and minibatches in flight.
        slots_before: Slots in each ring of the channel before this stage, 0 where there is none; an arena and a socket
            follow for it, and for the one behind if ``slots_behind``.
    """

    stage: int
    segment: Segment
    state: tuple[TensorSpec, ...]
    actions: tuple[Action, ...]
    depth: int
    minibatches: int
    slots_before: int
    slots_behind: int
    rule: UpdateRule
    seed: int
    input_shape: tuple[int, ...]
    vocabulary: int
    classes: int


@dataclass(frozen=True, slots=True)
class Go:
    """Run the schedule."""


@dataclass(frozen=True, slots=True)
class Export:
    """Write parameters and buffers to the arena that follows, laid out as the first one was."""


@dataclass(frozen=True, slots=True)
class Unload:
    """Forget the stage and give its memory back."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Done with the last message; for ``Go``, with what happened."""

    report: "Report | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a stage did in one run."""

    actions: tuple[ActionRecord, ...]
    losses: tuple[float, ...]
    peak_rss_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A stage raised.

    Attributes:
        during: What it was doing, in words.
        consequence: Whether only the end of another stage is to blame.
    """

    during: str
    reason: str
    stack: str
    consequence: bool


def send(connection: Connection, message: Any, descriptors: tuple[int, ...] = (), pid: int = 0) -> None:
    """Send a message and the descriptors that belong to it."""
    connection.send_bytes(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))
    for descriptor in descriptors:
        send_handle(connection, descriptor, pid)


def receive(connection: Connection) -> Any:
    """Wait for a message and return it."""
    return pickle.loads(connection.recv_bytes())


def receive_descriptor(connection: Connection) -> int:
    """Return the next descriptor that follows a message."""
    return recv_handle(connection)
