"""The session of a run: the ranks that run it together, or this process alone, behind one interface."""

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from runtime.channels import Rendezvous
from runtime.worker import Progress

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

T = TypeVar("T")
LEAD = 0
"""The rank that prints and writes."""


class Member(msgspec.Struct, frozen=True):
    """One of the ranks.

    Attributes:
        boot: Which boot of which machine it runs on, which hosts in containers share.
        nonce: What tells it from another process in its place.
    """

    rank: int
    host: str
    address: str
    boot: str
    nonce: str = ""

    def __str__(self) -> str:
        return f"rank {self.rank} on {self.host} ({self.address})"


class Session:
    """One process's view of all processes that run the same command together; as it stands here, of itself alone.

    What waits for others may raise a ``RunError`` or ``InputError``: the run is over, by a rank's fault or by what the
    user gave, and every rank says so in the same words.

    Attributes:
        rank: Which one this is.
        members: All of them.
        rendezvous: Where the stages' processes meet for gloo; None where that is this process's to decide.
        distributed: Whether a launcher such as torchrun started them; else there is only this one, with all stages.
        stopping: Whether a rank has asked all to ``stop``.
        group: What carries messages between the ranks, where there are several.
    """

    rank = LEAD
    members: tuple[Member, ...] = (Member(LEAD, socket.gethostname(), "", ""),)
    rendezvous: Rendezvous | None = None
    distributed = False
    stopping = False
    group: "ProcessGroup"

    @property
    def leads(self) -> bool:
        """Whether this process prints and writes."""
        return self.rank == LEAD

    def look(self, progress: Sequence[Progress] = ()) -> None:
        """Note what the stages that are here do, and end with the others if the run is over."""

    def stop(self) -> None:
        """Ask all ranks to train what has been read, and no more."""

    def exchange(self, value: T, kind: Any) -> list[T]:  # noqa: ARG002
        """Return every rank's ``value``, of type ``kind``, in their order."""
        return [value]

    def put_together(self, memory: memoryview, regions: Sequence[tuple[int, int]]) -> None:
        """Copy regions (offset, bytes) of every other rank's ``memory`` to where they lie in rank 0's."""

    def spread(self, content: bytes) -> bytes:
        """Return rank 0's ``content``, on every rank."""
        return content

    def clock(self) -> float:
        """Return what to add to this process's monotonic clock for rank 0's, in seconds."""
        return 0.0
