"""The session of a rank among others: they exchange facts, watch each other, and end together.

Every rank has a connection to rank 0. A thread serves the connections whatever the rank is at: it sends heartbeats,
answers for the clock, and takes in what comes. Once a rank fails, or is silent for too long, the root cause that rank 0
finds reaches everyone, and whatever a rank is waiting for ends with it.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any, TypeVar

import msgspec

from profiler.errors import StageplanError, one_line
from runtime.channels import Rendezvous
from runtime.cluster.protocol import (
    Chunk,
    Connection,
    Contribution,
    Doing,
    Fault,
    Gathered,
    Heartbeat,
    Member,
    Message,
    Ping,
    Pong,
    RootCause,
)
from runtime.cluster.root_cause import GRACE_S, RootCauseAnalysis, silence
from runtime.errors import Ended, InputError, NeighbourGone, RunError
from runtime.worker import Progress

T = TypeVar("T")
BEAT_S = 0.25
"""How often a rank gives a heartbeat."""
LEAD = 0
CHUNK_BYTES = 1 << 20
FINISH_S = 2.0
"""How long the last messages may take to arrive."""
PINGS = 30
_GONE = (OSError, EOFError, msgspec.DecodeError, msgspec.ValidationError)


class RankSession:
    """One rank's view of all ranks; a ``Session``."""

    distributed = True

    def __init__(
        self,
        rank: int,
        members: Sequence[Member],
        connections: dict[int, Connection],
        rendezvous: Rendezvous,
        *,
        timeout_s: float,
        stall_s: float,
        store: object = None,
    ) -> None:
        """Start to serve the connections.

        Args:
            rank: This rank.
            members: All ranks.
            connections: To every other rank, on rank 0; elsewhere to rank 0.
            rendezvous: Where the stages' processes meet.
            timeout_s: How long a rank may be silent.
            stall_s: How long all may wait for each other.
            store: Where the stages' processes meet; held on to, for it ends with its last holder.
        """
        self._store = store
        self.rank, self.members = rank, tuple(members)
        self.rendezvous: Rendezvous | None = rendezvous
        self._connections, self._timeout_s = connections, timeout_s
        self._analysis = RootCauseAnalysis(members, timeout_s, stall_s)
        self._root_cause: RootCause | None = None
        self._told: StageplanError | None = None
        self._changed = threading.Condition()
        self._contributions: dict[str, dict[int, bytes]] = {}
        self._gathered: dict[str, tuple[bytes, ...]] = {}
        self._memory: memoryview | None = None
        self._pongs: dict[int, tuple[float, float]] = {}
        self._doing: dict[int, Doing] = {}
        self._heard_s = dict.fromkeys(connections, time.perf_counter())
        self._open, self._parent = True, os.getppid()
        self._thread = threading.Thread(target=self._serve, name="stageplan-session", daemon=True)
        self._thread.start()

    @property
    def size(self) -> int:
        """The number of ranks."""
        return len(self.members)

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == LEAD

    @property
    def here(self) -> Member:
        """This rank."""
        return self.members[self.rank]

    def look(self, progress: Sequence[Progress] = ()) -> None:
        """Note what the stage that is here does, and end with the others if the run is over."""
        now_s = time.perf_counter()
        for one in progress:
            self._doing[self.rank] = Doing(
                int(one.phase), max(0.0, now_s - one.since_s), one.busy_s, one.done, one.total, one.doing
            )
        if self._root_cause:
            self._told = _error_of(self._root_cause)
            raise self._told

    def exchange(self, topic: str, value: T, kind: Any) -> list[T]:
        """Contribute to a topic, wait for all ranks to do so, and return what each has contributed."""
        contribution = Contribution(topic, msgspec.msgpack.encode(value))
        if self.leads:
            self._take_contribution(self.rank, contribution)
        else:
            self._send(LEAD, contribution)
        self._wait_for(lambda: topic in self._gathered)
        return [msgspec.msgpack.decode(content, type=kind) for content in self._gathered[topic]]

    def put_together(self, topic: str, memory: memoryview, regions: Sequence[tuple[int, int]]) -> None:
        """Send regions (offset, bytes) of ``memory`` to rank 0, or take in those of all others."""
        if self.leads:
            self._memory = memory
        self.exchange(f"{topic}: room", None, type(None))
        if not self.leads:
            for offset, size in regions:
                for start in range(offset, offset + size, CHUNK_BYTES):
                    end = min(start + CHUNK_BYTES, offset + size)
                    self.look()
                    self._send(LEAD, Chunk(start, bytes(memory[start:end])))
        self.exchange(f"{topic}: there", None, type(None))
        self._memory = None

    def clock(self) -> tuple[float, float]:
        """Compare this rank's clock with that of rank 0.

        Of some round trips the quickest counts: rank 0 read its clock between sending and receiving (Cristian,
        "Probabilistic clock synchronization", 1989).
        """
        if self.leads:
            return 0.0, 0.0
        best = (0.0, float("inf"))
        for number in range(PINGS):
            sent_s = time.perf_counter()
            self._send(LEAD, Ping(number))
            self._wait_for(lambda number=number: number in self._pongs)  # type: ignore[misc]
            received_s, there_s = self._pongs.pop(number)
            best = min(
                best, (there_s - (sent_s + received_s) / 2, (received_s - sent_s) / 2), key=lambda reading: reading[1]
            )
        return best

    @contextmanager
    def ending_together(self) -> Iterator[None]:
        """End with the context on every rank alike: all are done, or all tell the same fault."""
        try:
            yield
            self.exchange("the end", None, type(None))
        except BaseException as error:
            if error is self._told:
                raise
            root_cause = self._told_everyone(error)
            if isinstance(error, StageplanError) and root_cause:
                raise _error_of(root_cause) from error
            raise
        finally:
            self._close()

    def _told_everyone(self, error: BaseException) -> RootCause | None:
        """Tell the others what has happened here, and return what is said of it everywhere, if that comes in time."""
        fault = self._fault(error)
        if self.leads:
            with self._changed:
                self._analysis.hear(fault, time.perf_counter())
        else:
            self._send(LEAD, fault)
        deadline = time.perf_counter() + (self._timeout_s if fault.cause == "neighbour" else 0) + 4 * GRACE_S
        with self._changed:
            while self._root_cause is None and time.perf_counter() < deadline:
                self._changed.wait(BEAT_S)
            return self._root_cause

    def _fault(self, error: BaseException) -> Fault:
        notes = tuple(getattr(error, "__notes__", ()))
        if isinstance(error, StageplanError):
            if error.exit_code == InputError.exit_code:
                return Fault(self.rank, "input", str(error))
            away = isinstance(error, (NeighbourGone, Ended))
            return Fault(self.rank, "neighbour" if away else "stage", str(error), notes)
        what = "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {one_line(error)}"
        return Fault(self.rank, "stage", what, notes)

    def _wait_for(self, arrived: Callable[[], bool]) -> None:
        with self._changed:
            while not arrived():
                self.look()
                self._changed.wait(BEAT_S)

    def _send(self, rank: int, message: Message) -> None:
        connection = self._connections.get(rank)
        try:
            if connection:
                connection.send(message)
        except _GONE:
            if connection:
                connection.break_off()

    def _serve(self) -> None:
        """Serve the connections until the session is closed; a bug in here ends the run, too."""
        try:
            self._serve_connections()
        except Exception as error:  # noqa: BLE001 - a thread that dies quietly would leave every rank waiting
            for connection in self._connections.values():
                connection.break_off()
            self._accept(RootCause(f"{self.here}: {type(error).__name__}: {one_line(error)}", (), 1))

    def _serve_connections(self) -> None:
        next_beat_s = 0.0
        while self._open:
            ranks = {connection.fileno(): rank for rank, connection in self._connections.items()}
            for descriptor in wait(list(ranks), BEAT_S / 2):
                self._receive(ranks[descriptor])  # type: ignore[index]  # what was given is what comes back
            now_s = time.perf_counter()
            if now_s >= next_beat_s:
                next_beat_s = now_s + BEAT_S
                for rank in list(self._connections):
                    self._send(rank, Heartbeat(self._doing.get(self.rank)))
            self._decide(now_s)
            if os.getppid() != self._parent:  # the launcher has gone, and would leave this process behind
                self._parent = os.getppid()
                os.kill(os.getpid(), signal.SIGTERM)

    def _receive(self, rank: int) -> None:
        try:
            message = self._connections[rank].receive()
        except _GONE:
            self._lost(rank)
            return
        now_s = time.perf_counter()
        self._heard_s[rank] = now_s
        match message:
            case Heartbeat(doing):
                self._doing |= {rank: doing} if doing else {}
            case Ping(number):
                self._send(rank, Pong(number, time.perf_counter()))
            case Contribution():
                self._take_contribution(rank, message)
            case Chunk(offset, content):
                assert self._memory is not None
                self._memory[offset : offset + len(content)] = content
            case _:
                self._note(message, now_s)

    def _note(self, message: Message, now_s: float) -> None:
        with self._changed:
            match message:
                case Gathered(topic, contents):
                    self._gathered[topic] = contents
                case Pong(number, at_s):
                    self._pongs[number] = now_s, at_s
                case Fault():
                    self._analysis.hear(message, now_s)
                case RootCause():
                    self._root_cause = self._root_cause or message
            self._changed.notify_all()

    def _take_contribution(self, rank: int, part: Contribution) -> None:
        with self._changed:
            parts = self._contributions.setdefault(part.topic, {})
            parts[rank] = part.content
            if len(parts) < self.size:
                return
            whole = Gathered(part.topic, tuple(parts[rank] for rank in range(self.size)))
        for other in list(self._connections):
            self._send(other, whole)
        with self._changed:
            self._gathered[part.topic] = whole.contents
            self._changed.notify_all()

    def _lost(self, rank: int) -> None:
        """Blame a rank whose connection broke, and close that."""
        connection = self._connections.pop(rank)
        fault = self._analysis.fault_of(rank, "its process has ended without a word, or the connection to it broke")
        connection.close()
        self._heard_s.pop(rank, None)
        if self.leads:
            with self._changed:
                self._analysis.hear(fault, time.perf_counter())
        else:
            self._accept(RootCause(self._analysis.sentence_of(fault), (), 1))

    def _decide(self, now_s: float) -> None:
        """On rank 0, find the root cause and spread it; elsewhere, give rank 0 up if it is silent."""
        if self._root_cause:
            return
        if self.leads:
            with self._changed:
                self._analysis.note_silence(self._heard_s, now_s)
                self._analysis.note_standstill(self._doing, now_s)
                root_cause = self._analysis.root_cause(now_s)
            if root_cause:
                for rank in list(self._connections):
                    self._send(rank, root_cause)
                self._accept(root_cause)
        elif now_s - self._heard_s.get(LEAD, now_s) > self._timeout_s:
            self._connections.pop(LEAD).close()
            reason = silence(now_s - self._heard_s[LEAD])
            self._accept(RootCause(f"{self.members[LEAD]}: {reason} (seen from {self.here})", (), 1))

    def _accept(self, root_cause: RootCause) -> None:
        with self._changed:
            self._root_cause = self._root_cause or root_cause
            self._changed.notify_all()

    def _close(self) -> None:
        self._open = False
        self._thread.join()
        deadline = time.monotonic() + FINISH_S
        for connection in self._connections.values():
            connection.finish()
        for connection in self._connections.values():
            connection.drain(deadline)
            connection.close()


def _error_of(root_cause: RootCause) -> RunError | InputError:
    kind = InputError if root_cause.exit_code == InputError.exit_code else RunError
    error = kind(root_cause.sentence)
    for note in root_cause.notes:
        error.add_note(note)
    return error
