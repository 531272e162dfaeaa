"""What the parent and its stage processes say to each other.

Messages are pickled here, not by multiprocessing, whose tensor pickles go through named shared memory. Descriptors of
shared memory and sockets follow a ``Load`` one by one.
"""

import pickle
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any, Literal

from optimizer.schedule import Action, RankLayout
from profiler.execution import Segment, TensorSpec
from profiler.settings import UpdateRule
from runtime.channels import Cut
from runtime.channels.rendezvous import Rendezvous
from runtime.results import ActionRecord, ChannelName
from runtime.worker.data import DataSpec

OnNan = Literal["stop", "warn"]
Cause = Literal["stage", "input", "neighbour"]
"""Whose fault a failure is: the stage's own, what the user gave, or only the end of another stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Become a stage.

    Attributes:
        rank: Which of the ``layout`` this is.
        segment: What to run; its parameters and buffers are on the meta device.
        state: Where parameters and buffers lie in the memory that follows.
        versions: Weight versions to hold.
        in_flight: Minibatches between forward and backward.
        group_sizes: For each minibatch, how many share its update.
        before: The cut before the stage, None in the first. Over shared memory an memory and a socket follow for it,
            and then for the cut ``behind``; over gloo nothing does.
        rendezvous: Where the ranks meet, over gloo; None in shared memory.
        record_digests: Whether to keep digests of gradients and buffers.
    """

    rank: int
    layout: RankLayout
    segment: Segment
    state: tuple[TensorSpec, ...]
    actions: tuple[Action, ...]
    versions: int
    in_flight: int
    group_sizes: tuple[int, ...]
    before: Cut | None
    behind: Cut | None
    channel: ChannelName
    rendezvous: Rendezvous | None
    rule: UpdateRule
    data: DataSpec
    on_nan: OnNan
    record_digests: bool

    @property
    def stage(self) -> int:
        """Which stage to become."""
        return self.layout.stage_of(self.rank)

    @property
    def replica(self) -> int:
        """Which replica of it."""
        return self.layout.replica_of(self.rank)

    @property
    def replicas(self) -> int:
        """How many replicas of it there are."""
        return self.layout.replicas[self.stage]

    @property
    def own(self) -> range:
        """The minibatches to run."""
        return range(self.replica, self.data.minibatches, self.replicas)


@dataclass(frozen=True, slots=True)
class Go:
    """Run the schedule."""


@dataclass(frozen=True, slots=True)
class Export:
    """Write parameters and buffers to the memory that follows, laid out as the first one was."""


@dataclass(frozen=True, slots=True)
class Unload:
    """Forget the stage and give its memory back."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Done with the last message; for ``Go``, with what happened."""

    report: "Report | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MinibatchDigests:
    """Digests of what one minibatch left in one stage, by path.

    Attributes:
        gradients: After its backward; with a flush, summed up since the last update.
        buffers: After its forward.
    """

    gradients: dict[str, str]
    buffers: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a stage did in one run.

    Attributes:
        page_faults: Minor page faults during each action.
        minibatch_digests: One a minibatch, if asked for.
        checksums: One for each minibatch that the stage read from a loader.
    """

    actions: tuple[ActionRecord, ...]
    losses: tuple[float, ...]
    peak_rss_bytes: int | None
    minibatch_digests: tuple[MinibatchDigests, ...]
    checksums: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """A report, and where it comes from.

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
