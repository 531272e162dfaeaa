"""Messages between the parent and its stage processes.

Messages are pickled here, not by multiprocessing, whose tensor pickles go through named shared memory. A message may
hold pieces of shared memory and sockets: the receiver gets its own descriptors of the same.
"""

import io
import pickle
import socket
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

import torch
from torch import Tensor

from optimizer.schedule import Pace
from profiler.execution import Segment, TensorSpec
from runtime.channels import Cut, Rendezvous, SharedMemory
from runtime.results import StageRun
from runtime.worker.data import DataSpec
from runtime.worker.settings import Settings


@dataclass(frozen=True, slots=True)
class Share:
    """What a minibatch is to its update, or a part of one that was cut.

    Attributes:
        weight: What its loss counts in the update.
        minibatch: Its number, or that of the minibatch that it is a part of, as the user counts.
        part: Which part of that it is.
    """

    weight: float
    minibatch: int
    part: float

    @property
    def tensor(self) -> Tensor:
        """The three numbers, as they travel."""
        return torch.tensor([self.weight, self.minibatch, self.part], dtype=torch.float64)

    @classmethod
    def of(cls, tensor: Tensor) -> "Share":
        """Return what ``tensor`` says."""
        weight, minibatch, part = tensor.tolist()
        return cls(weight, int(minibatch), part)


Checksums = tuple[int, ...]
"""Of minibatches that were read from a loader, one of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutEnd:
    """One stage's end of a cut.

    Attributes:
        cut: What crosses.
        memory: Where the rings lie; None over gloo.
        notifications: The socket to the neighbour; None over gloo.
    """

    cut: Cut
    memory: SharedMemory | None = None
    notifications: socket.socket | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What all stages of a run are told alike.

    Attributes:
        stages: How many stages there are.
        pace: The schedule.
        weights: What training starts from, for the whole model, as ``state`` says it lies there: parameters, buffers,
            and where training goes on, momenta and counts.
        updates: The number of the newest weight version.
        rendezvous: Where the ranks meet, over gloo; None in shared memory.
        data: Of minibatches that the stages make themselves.
    """

    stages: int
    pace: Pace
    weights: SharedMemory
    state: tuple[TensorSpec, ...]
    updates: int
    rendezvous: Rendezvous | None
    settings: Settings
    data: DataSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Become a stage.

    Attributes:
        common: What all are told.
        stage: Which stage to become.
        segment: What to run; its parameters and buffers are on the meta device.
        versions: Weight versions to hold.
        in_flight: Minibatches that it holds at once, between forward and backward, or its second part.
        before: The cut before the stage, None in the first; likewise ``behind``, None in the last.
        inputs: Where the first stage gets minibatches from the parent process; None where it makes its own.
        targets: Likewise, their targets in the last stage.
        turn: What stages on the same core take turns by; None where each runs when it can.
    """

    common: Common
    stage: int
    segment: Segment
    versions: int
    in_flight: int
    before: CutEnd | None
    behind: CutEnd | None
    inputs: CutEnd | None
    targets: CutEnd | None
    turn: SharedMemory | None


@dataclass(frozen=True, slots=True)
class Go:
    """Run the schedule, from the weights that are there.

    Attributes:
        minibatches: For how many; None: until the parent process has no more.
        first: How many have been trained on before, which seeds what is random in layers.
        recorded: Whether to report every action; else losses, and times of the whole only.
        unread: The minibatches of the run before whose targets nobody has taken, for it ended at the first stage.
        offset_s: What to add to this host's clock for that of the first stage's.
    """

    minibatches: int | None
    first: int = 0
    recorded: bool = False
    unread: tuple[int, ...] = ()
    offset_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Export:
    """Write what ``state`` names to ``target``: parameters, buffers, momenta and counts."""

    target: SharedMemory
    state: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class Unload:
    """Forget the stage and give its memory back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The answer to ``Go``: what a stage did in one run, and what came of it. All else is answered with None.

    Attributes:
        run: Its times are on the clock of the first stage's host.
        losses: One a minibatch; ``shares``, what each was to its update, with its number of samples, where it trains.
        stopping: Whether the rank was asked to end.
        checksums: Of the minibatches that the parent process read from a loader.
        physical_core: The host's boot, the package and the physical core that ``core`` belongs to: two stages that
            name the same share it.
    """

    run: StageRun
    losses: tuple[float, ...]
    shares: tuple[tuple[Share, int], ...]
    checksums: Checksums = ()
    stopping: bool = False
    physical_core: tuple[str, ...] = ()


class _Pickler(pickle.Pickler):
    """Pickles a message and collects the descriptors that have to go with it."""

    def __init__(self, target: io.BytesIO) -> None:
        super().__init__(target, protocol=pickle.HIGHEST_PROTOCOL)
        self.descriptors: list[int] = []

    def persistent_id(self, value: Any) -> str | None:
        if isinstance(value, SharedMemory):
            self.descriptors.append(value.descriptor)
            return "memory"
        if isinstance(value, socket.socket):
            self.descriptors.append(value.fileno())
            return "socket"
        return None


class _Unpickler(pickle.Unpickler):
    """Reads a message; its descriptors follow in the order in which they stand in it."""

    def __init__(self, source: io.BytesIO, connection: Connection) -> None:
        super().__init__(source)
        self._connection = connection

    def persistent_load(self, kind: str) -> SharedMemory | socket.socket:
        descriptor = recv_handle(self._connection)
        return SharedMemory(descriptor) if kind == "memory" else socket.socket(fileno=descriptor)


def send(connection: Connection, message: Any, pid: int = 0) -> None:
    """Send a message to process ``pid``, and with it the descriptors of the memory and sockets in it."""
    target = io.BytesIO()
    pickler = _Pickler(target)
    pickler.dump(message)
    connection.send_bytes(target.getbuffer())
    for descriptor in pickler.descriptors:
        send_handle(connection, descriptor, pid)


def receive(connection: Connection) -> Any:
    """Wait for a message and return it."""
    return _Unpickler(io.BytesIO(connection.recv_bytes()), connection).load()
