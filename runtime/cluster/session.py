"""The session of a run: the ranks that run it together, or this process alone, behind one interface."""

import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

from runtime.channels import Rendezvous
from runtime.cluster.protocol import Member
from runtime.worker import Progress

T = TypeVar("T")


class Session(Protocol):
    """One process's view of all processes that run the same command together.

    Attributes:
        rank: Which one this is.
        members: All of them.
        rendezvous: Where the stages' processes meet for gloo; None where that is this process's to decide.
        distributed: Whether a launcher such as torchrun started them; else there is only this one, with all stages.
    """

    rank: int
    members: tuple[Member, ...]
    rendezvous: Rendezvous | None
    distributed: bool

    @property
    def leads(self) -> bool:
        """Whether this process prints and writes."""

    def look(self, progress: Sequence[Progress] = ()) -> None:
        """Note what the stages that are here do, and end with the others if the run is over.

        Raises:
            RunError: It is over, by a rank's fault.
            InputError: Likewise, by what the user gave.
        """

    def exchange(self, topic: str, value: T, kind: Any) -> list[T]:
        """Return every rank's ``value``, of type ``kind``, in their order; a topic is used once.

        Raises:
            RunError, InputError: As ``look``.
        """

    def put_together(self, topic: str, memory: memoryview, regions: Sequence[tuple[int, int]]) -> None:
        """Copy regions (offset, bytes) of every other rank's ``memory`` to where they lie in rank 0's.

        Raises:
            RunError, InputError: As ``look``.
        """

    def clock(self) -> tuple[float, float]:
        """Return what to add to this process's monotonic clock for rank 0's, and its error at most, in seconds.

        Raises:
            RunError, InputError: As ``look``.
        """

    def ending_together(self) -> AbstractContextManager[None]:
        """End with the context on every rank alike: all are done, or all tell the same fault."""


class LocalSession:
    """This process alone: there is nobody to wait for, to ask, or to end with."""

    rank = 0
    rendezvous: Rendezvous | None = None
    distributed = False
    leads = True

    def __init__(self) -> None:
        """Count this process as the only member."""
        self.members: tuple[Member, ...] = (Member(0, socket.gethostname(), "", ""),)

    def look(self, progress: Sequence[Progress] = ()) -> None:
        """Do nothing."""

    def exchange(self, topic: str, value: T, kind: Any) -> list[T]:  # noqa: ARG002 - as the protocol says
        """Return ``value``."""
        return [value]

    def put_together(self, topic: str, memory: memoryview, regions: Sequence[tuple[int, int]]) -> None:
        """Do nothing."""

    def clock(self) -> tuple[float, float]:
        """Return no difference and no error."""
        return 0.0, 0.0

    def ending_together(self) -> AbstractContextManager[None]:
        """Do nothing."""
        return nullcontext()
