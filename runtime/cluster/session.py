"""The session of a run: the ranks that run it together, or this process alone, behind one interface."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from runtime.channels import Rendezvous
from runtime.cluster.messages import Member
from runtime.worker import Progress

T = TypeVar("T")


class Session:
    """One process's view of all processes that run the same command together; as it stands here, of itself alone.

    All but the properties may raise a ``RunError`` or ``InputError``: the run is over, by a rank's fault or by what the
    user gave, and every rank says so in the same words.

    Attributes:
        rank: Which one this is.
        members: All of them.
        rendezvous: Where the stages' processes meet for gloo; None where that is this process's to decide.
        distributed: Whether a launcher such as torchrun started them; else there is only this one, with all stages.
    """

    rank = 0
    members: tuple[Member, ...] = (Member(0, socket.gethostname(), "", ""),)
    rendezvous: Rendezvous | None = None
    distributed = False

    @property
    def leads(self) -> bool:
        """Whether this process prints and writes."""
        return self.rank == 0

    def look(self, progress: Sequence[Progress] = ()) -> None:
        """Note what the stages that are here do, and end with the others if the run is over."""

    @property
    def stopping(self) -> bool:
        """Whether a rank has asked all to ``stop``."""
        return False

    def stop(self) -> None:
        """Ask all ranks to train what has been read, and no more."""

    def exchange(self, topic: str, value: T, kind: Any) -> list[T]:  # noqa: ARG002
        """Return every rank's ``value``, of type ``kind``, in their order; a topic is used once."""
        return [value]

    def put_together(self, topic: str, memory: memoryview, regions: Sequence[tuple[int, int]]) -> None:
        """Copy regions (offset, bytes) of every other rank's ``memory`` to where they lie in rank 0's."""

    def spread(self, topic: str, content: bytes) -> bytes:  # noqa: ARG002
        """Return rank 0's ``content``, on every rank."""
        return content

    def clock(self) -> tuple[float, float]:
        """Return what to add to this process's monotonic clock for rank 0's, and its error at most, in seconds."""
        return 0.0, 0.0

    @contextmanager
    def ending_together(self) -> Iterator[None]:
        """End with the context on every rank alike: all are done, or all tell the same fault."""
        yield
