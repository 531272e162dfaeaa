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
from typing import Any, Literal

from optimizer.schedule import Pace, RankLayout
from profiler.execution import Segment, TensorSpec
from runtime.channels import Cut, SharedMemory
from runtime.channels.rendezvous import Rendezvous
from runtime.results import ActionRecord, StageTimes
from runtime.worker.data import DataSpec
from runtime.worker.settings import Settings

Cause = Literal["template", "stage", "input", "neighbour"]
"""Whose fault a failure is: the template's, the stage's own, the user's input's, or only the end of another stage's."""
Checksums = tuple[tuple[int, int], ...]
"""Of minibatches that were read from a loader, each with the number of minibatches up to it."""


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
class Load:
    """Become a stage.

    Attributes:
        rank: Which of the ``layout`` this is.
        segment: What to run under ``pace``; its parameters and buffers are on the meta device.
        weights: What training starts from, for the whole model, as ``state`` says it lies there: parameters, buffers,
            and where training goes on, momenta and counts.
        updates: The number of the newest weight version.
        versions: Weight versions to hold.
        in_flight: Minibatches between forward and backward.
        before: The cut before the stage, None in the first; likewise ``behind``, None in the last.
        inputs: Where the first stage gets minibatches from the launcher's process; None where it makes its own.
        targets: Likewise, their targets in the last stage.
        turn: What stages on the same core take turns by; None where each runs when it can.
        rendezvous: Where the ranks meet, over gloo; None in shared memory.
        data: Of minibatches that the stages make themselves.
    """

    rank: int
    layout: RankLayout
    segment: Segment
    pace: Pace
    weights: SharedMemory
    state: tuple[TensorSpec, ...]
    updates: int
    versions: int
    in_flight: int
    before: CutEnd | None
    behind: CutEnd | None
    inputs: CutEnd | None
    targets: CutEnd | None
    turn: SharedMemory | None
    rendezvous: Rendezvous | None
    settings: Settings
    data: DataSpec

    @property
    def stage(self) -> int:
        """Which stage to become."""
        return self.layout.stage_of(self.rank)

    @property
    def replica(self) -> int:
        """The number of this replica of the stage."""
        return self.layout.replica_of(self.rank)

    @property
    def replicas(self) -> int:
        """The number of replicas of the stage."""
        return self.layout.replicas[self.stage]


@dataclass(frozen=True, slots=True)
class Go:
    """Run the schedule, from the weights that are there.

    Attributes:
        minibatches: For how many; None: until the launcher's process has no more.
        first: How many have been trained on before, which seeds what is random in layers.
        recorded: Of how many of the minibatches to report every action and loss; None: the losses of all, and times on
            the whole only.
    """

    minibatches: int | None
    first: int = 0
    recorded: int | None = None


@dataclass(frozen=True, slots=True)
class Export:
    """Write what ``state`` names to ``target``: parameters, buffers, momenta and counts."""

    target: SharedMemory
    state: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class Unload:
    """Forget the stage and give its memory back."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The answer that the last message is carried out; for ``Go``, with what happened."""

    report: "Report | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MinibatchDigests:
    """Digests of what one minibatch left in one stage, by path.

    Attributes:
        gradients: After its backward; summed up since the last update.
        buffers: After its forward.
    """

    gradients: dict[str, str]
    buffers: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A stage's actions, times and losses in one run.

    Attributes:
        actions: Those of the minibatches that were to be recorded; likewise ``losses``.
        times: On the whole.
        last_loss: That of its last minibatch; NaN where it has no loss.
        diverged: Whether any loss was no finite number.
        minibatch_digests: One a minibatch, if asked for.
        checksums: Of the minibatches that the launcher's process read from a loader.
    """

    actions: tuple[ActionRecord, ...]
    times: StageTimes
    losses: tuple[float, ...]
    last_loss: float
    diverged: bool
    minibatch_digests: tuple[MinibatchDigests, ...]
    checksums: Checksums = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """A stage's report with its host and core.

    Attributes:
        physical_core: The host's boot, the package and the physical core that ``core`` belongs to: two stages that
            name the same share it.
        clock_error_s: By how much the report's times may be off against the first stage's.
    """

    report: Report
    host: str
    core: int
    physical_core: tuple[str, ...]
    clock_error_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A stage failed.

    Attributes:
        during: What it was doing, in words.
        at_s: When it failed, on the machine's monotonic clock.
    """

    during: str
    reason: str
    stack: str
    cause: Cause
    at_s: float


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
