"""Messages between ranks beside the pipeline, and the connection that carries them: framed msgpack over TCP.

The pipeline's tensors go over gloo; this is for all else: rendezvous, heartbeat, facts that must agree, results. What
comes in is decoded as one of these messages or refused, so a stranger's bytes do no harm.
"""

import math
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection as FramedSocket

import msgspec

from runtime.worker import Cause

MOST_BYTES = 1 << 30
"""No message is larger."""


class Hello(msgspec.Struct, frozen=True, tag=True):
    """A rank comes; ``boot`` says which boot of which machine it runs on, which hosts in containers share."""

    rank: int
    world_size: int
    token: str
    host: str
    address: str
    boot: str


class Member(msgspec.Struct, frozen=True):
    """One of the ranks."""

    rank: int
    host: str
    address: str
    boot: str

    def __str__(self) -> str:
        return f"rank {self.rank} on {self.host} ({self.address})"


class Roster(msgspec.Struct, frozen=True, tag=True):
    """The list of all ranks, once they have come."""

    members: tuple[Member, ...]


class Doing(msgspec.Struct, frozen=True):
    """The present action of a rank's stage, and for how long it has lasted; see ``runtime.worker.Progress``."""

    phase: int
    for_s: float
    busy_s: float
    done: int
    total: int
    doing: str


class Heartbeat(msgspec.Struct, frozen=True, tag=True):
    """A heartbeat."""

    doing: Doing | None


class Contribution(msgspec.Struct, frozen=True, tag=True):
    """One rank's value for a topic."""

    topic: str
    content: bytes


class Gathered(msgspec.Struct, frozen=True, tag=True):
    """All ranks' values for a topic, in the order of ranks."""

    topic: str
    contents: tuple[bytes, ...]


class Chunk(msgspec.Struct, frozen=True, tag=True):
    """A piece of memory that rank 0 puts together."""

    offset: int
    content: bytes


class Ping(msgspec.Struct, frozen=True, tag=True):
    """A question for the time on rank 0's clock."""

    number: int


class Pong(msgspec.Struct, frozen=True, tag=True):
    """The answer to a ping: rank 0's clock showed ``at_s``."""

    number: int
    at_s: float


class Fault(msgspec.Struct, frozen=True, tag=True):
    """The failure of a rank, told by itself or by another."""

    rank: int
    cause: Cause
    reason: str
    notes: tuple[str, ...] = ()


class RootCause(msgspec.Struct, frozen=True, tag=True):
    """The run is over: what every rank says, and its exit code."""

    sentence: str
    notes: tuple[str, ...]
    exit_code: int


Message = Hello | Roster | Heartbeat | Contribution | Gathered | Chunk | Ping | Pong | Fault | RootCause


class Connection:
    """A connection to another rank; any thread may send, one receives.

    Sending and receiving raise ``OSError``, ``EOFError`` or ``msgspec.DecodeError`` when the other end is gone, stuck
    halfway through a message, or no rank of ours.
    """

    def __init__(self, end: socket.socket, patience_s: float) -> None:
        """Take over the socket; a message that is stuck for ``patience_s`` breaks the connection."""
        self.near, self.far = end.getsockname()[0], end.getpeername()[0]
        end.settimeout(None)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = FramedSocket(end.detach())
        self.be_patient(patience_s)
        self._sending = threading.Lock()
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Message)

    def be_patient(self, patience_s: float) -> None:
        """From now on, let a message be stuck for ``patience_s`` before it breaks the connection."""
        with self._socket() as end:
            for direction in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
                end.setsockopt(socket.SOL_SOCKET, direction, struct.pack("@ll", math.ceil(patience_s), 0))

    def fileno(self) -> int:
        """Return the descriptor, to wait for."""
        return self._connection.fileno()

    def send(self, message: Message) -> None:
        """Send a message."""
        with self._sending:
            self._connection.send_bytes(self._encoder.encode(message))

    def receive(self) -> Message:
        """Wait for a message and return it."""
        message: Message = self._decoder.decode(self._connection.recv_bytes(MOST_BYTES))
        return message

    def break_off(self) -> None:
        """Let whoever receives here find the connection broken."""
        with suppress(OSError), self._sending, self._socket() as end:
            end.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        """Send no more; the other end finds out once it has received all."""
        with suppress(OSError), self._socket() as end:
            end.shutdown(socket.SHUT_WR)

    def drain(self, deadline: float) -> None:
        """Take in what is under way until the other end has finished, too; closed before, it might lose our last."""
        with suppress(OSError), self._socket() as end:
            while (left := deadline - time.monotonic()) > 0:
                end.settimeout(left)
                if not end.recv(1 << 16):
                    return

    def close(self) -> None:
        """Close the connection."""
        with self._sending:
            self._connection.close()

    @contextmanager
    def _socket(self) -> Iterator[socket.socket]:
        end = socket.socket(fileno=self._connection.fileno())
        try:
            yield end
        finally:
            end.detach()
