"""The ranks of torchrun as one session: they exchange values over gloo, watch each other, and end together.

A thread of each rank gives heartbeats in the launcher's store and reads those of all others, whatever the rank is at;
``judgement`` says who is at fault. The first that knows writes it to the store, where it stands for good, and whatever
a rank is waiting for ends with that sentence.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import torch

from profiler.errors import StageplanError, one_line
from runtime.channels import Rendezvous
from runtime.errors import Drained, Failure, NeighbourGone, cause_of
from runtime.hosts.errand import SLICE_S, Errand
from runtime.hosts.judgement import DEAD_S, GRACE_S, Heartbeat, Judge, silence
from runtime.hosts.session import LEAD, Member, Session
from runtime.worker import Phase, Progress

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup, Store

T = TypeVar("T")
M = TypeVar("M", Member, Failure, Heartbeat)
BEAT_S = 0.25
"""How often a rank gives a heartbeat."""
PINGS = 30
MEMBER, HEARTBEAT, OVER, LEFT = "member {}", "heartbeat {}", "over", "left"
_CLOCK, _STATE = 0, 1
_FINISH_S = 2.0
# Made before there are threads: to work out a type in one while another collects garbage ends the process.
_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Member, Heartbeat, Failure)
}


class Ranks(Session):
    """One rank's view of all ranks."""

    distributed = True

    def __init__(
        self,
        members: Sequence[Member],
        rank: int,
        store: "Store",
        connect: "Callable[[], ProcessGroup]",
        rendezvous: Rendezvous,
        *,
        timeout_s: float,
        stall_s: float,
    ) -> None:
        """Start to watch.

        Args:
            members: All ranks, which have come.
            rank: Which of them this is.
            store: In which only they write, and only this thread reads: a call of it may block.
            connect: Connects all ranks over gloo.
            rendezvous: Where the stages' processes meet.
            timeout_s: How long a rank may be silent.
            stall_s: How long all may wait for each other.
        """
        self.rank, self.members, self.rendezvous = rank, tuple(members), rendezvous
        self._store, self._connect, self._timeout_s = store, connect, timeout_s
        self._judge = Judge(members, rank, timeout_s, stall_s)
        self._over: Failure | None = None
        self._told: StageplanError | None = None
        self._own, self._open = Heartbeat(), True
        self._launcher = os.getppid()
        self._asked_s, self._overdue = time.perf_counter(), 0
        self._wake = threading.Event()
        self._watching = Errand(self._watch)

    def look(self, progress: Sequence[Progress] = ()) -> None:
        """Note what the stage that is here does, and end with the others if the run is over."""
        now_s = time.perf_counter()
        for stage in progress:
            waits = stage.doing if stage.phase == Phase.WAITING else ""
            self._own = msgspec.structs.replace(self._own, waits_for=waits, waits_s=max(0.0, now_s - stage.since_s))
        # Seen several times, for this process itself may have been stopped.
        self._overdue = self._overdue + 1 if now_s - self._asked_s > self._timeout_s else 0
        if self._overdue > 2 and not self._over:
            seen = (
                f"{silence(now_s - self._asked_s)} (seen from {self.members[self.rank]}, which may be cut off itself)"
            )
            self._over = Failure(who=str(self.members[LEAD]), reason=seen)
        if self._over:
            self._told = self._over.error()
            raise self._told

    def stop(self) -> None:
        """Ask all ranks to train what has been read, and no more; takes no lock, for a signal's handler calls it."""
        self.stopping = True

    def exchange(self, value: T, kind: Any) -> list[T]:
        """Return every rank's ``value``, of type ``kind``, in their order."""
        content = torch.frombuffer(bytearray(msgspec.msgpack.encode(value)), dtype=torch.uint8)

        def gather() -> list[bytes]:
            sizes = [torch.zeros(1, dtype=torch.int64) for _ in self.members]
            self.group.allgather([sizes], [torch.tensor([len(content)])]).wait()
            room = int(max(sizes))
            contents = [torch.empty(room, dtype=torch.uint8) for _ in self.members]
            self.group.allgather([contents], [torch.nn.functional.pad(content, (0, room - len(content)))]).wait()
            return [own[: int(size)].numpy().tobytes() for own, size in zip(contents, sizes, strict=True)]

        return [msgspec.msgpack.decode(own, type=kind) for own in self._await(gather)]

    def put_together(self, memory: memoryview, regions: Sequence[tuple[int, int]]) -> None:
        """Send regions (offset, bytes) of ``memory`` to rank 0, or take in those of all others."""
        everyone = self.exchange(list(regions), list[tuple[int, int]])
        whole = torch.frombuffer(memory, dtype=torch.uint8)

        def carry() -> None:
            for rank, owned in enumerate(everyone[1:], 1):
                for offset, size in owned:
                    if self.leads:
                        self.group.recv([whole[offset : offset + size]], rank, _STATE).wait()
                    elif rank == self.rank:
                        self.group.send([whole[offset : offset + size]], LEAD, _STATE).wait()

        self._await(carry)

    def spread(self, content: bytes) -> bytes:
        """Return rank 0's ``content``, on every rank."""
        size, *_ = self.exchange(len(content), int)
        if not size:
            return b""
        whole = torch.frombuffer(bytearray(content if self.leads else size), dtype=torch.uint8)
        self._await(lambda: self.group.broadcast(whole, LEAD).wait())
        return whole.numpy().tobytes()

    def clock(self) -> float:
        """Compare this rank's clock with that of rank 0, which answers one rank after the other.

        Of some round trips the quickest counts: rank 0 read its clock between sending and receiving (Cristian,
        "Probabilistic clock synchronization", 1989).
        """
        ping, shown = torch.zeros(2, 1, dtype=torch.float64)

        def answer() -> float:
            for rank in range(1, len(self.members)):
                for _ in range(PINGS):
                    self.group.recv([ping], rank, _CLOCK).wait()
                    self.group.send([shown.fill_(time.perf_counter())], rank, _CLOCK).wait()
            return 0.0

        def ask() -> float:
            trips = []
            for _ in range(PINGS):
                answer = self.group.recv([shown], LEAD, _CLOCK)
                sent_s = time.perf_counter()
                self.group.send([ping], LEAD, _CLOCK).wait()
                answer.wait()
                received_s = time.perf_counter()
                trips.append((received_s - sent_s, float(shown) - (sent_s + received_s) / 2))
            return min(trips)[1]

        return self._await(answer if self.leads else ask)

    @contextmanager
    def ending_together(self) -> Iterator[None]:
        """End with the context on every rank alike: all are done, or all tell the same fault."""
        drained: Drained | None = None
        try:
            self.group = self._await(self._connect)
            try:
                yield
            except Drained as end:  # as on all ranks
                drained = end
            self.exchange(None, type(None))
        except BaseException as error:
            if error is self._told:
                raise
            over = self._told_everyone(error)
            if isinstance(error, StageplanError) and over:
                raise over.error() from error
            raise
        finally:
            self._close()
        if drained:
            raise drained

    def _await(self, call: Callable[[], T]) -> T:
        """Make a call that waits for other ranks in a thread of its own, and watch them meanwhile."""
        try:
            return Errand(call).answer(self.look)
        except RuntimeError as error:
            raise NeighbourGone("another rank has gone") from error

    def _told_everyone(self, error: BaseException) -> Failure | None:
        """Tell the others what has happened here, and return what is said of it everywhere, if that comes in time."""
        self._own = msgspec.structs.replace(self._own, failure=self._own.failure or _failure_of(error, self._launcher))
        self._wake.set()
        deadline = time.perf_counter() + 2 * DEAD_S + 4 * GRACE_S
        while not self._over and time.perf_counter() < deadline:
            self._watching.join(SLICE_S / 10)
        return self._over

    def _watch(self) -> None:
        """Give heartbeats and listen until the session is closed; a store that is gone, or a bug, ends the run, too."""
        number = 0
        try:
            while self._open and not self._over:
                self._asked_s, number = time.perf_counter(), number + 1
                own = msgspec.structs.replace(self._own, number=number, stopping=self.stopping)
                self._store.set(HEARTBEAT.format(self.rank), encoded(own))
                self._over = self._listen()
                self._asked_s = time.perf_counter()
                self._wake.wait(BEAT_S)
                self._wake.clear()
        except RuntimeError:
            reason = "its launcher's store has gone: that process, or its host, has ended"
            self._over = Failure(who=str(self.members[LEAD]), reason=reason)
        except Exception as error:  # noqa: BLE001 - a thread that dies quietly would leave every rank waiting
            self._over = Failure(who=str(self.members[self.rank]), reason=f"{type(error).__name__}: {one_line(error)}")

    def _listen(self) -> Failure | None:
        """Take in what the ranks have to say; return why the run is over, once somebody knows."""
        heartbeats = self._store.multi_get([HEARTBEAT.format(rank) for rank in range(len(self.members))])
        heard = [decoded(content, Heartbeat) for content in heartbeats]
        self.stopping |= any(heartbeat.stopping for heartbeat in heard)
        verdict = self._judge.verdict(heard, time.perf_counter())
        return settled(self._store, OVER, verdict) if verdict else over_in(self._store)

    def _close(self) -> None:
        """Leave; rank 0, with which the store may end, waits a moment for the others to do so."""

        def leave() -> None:
            self._watching.join()
            self._store.add(LEFT, 1)
            deadline = time.monotonic() + _FINISH_S
            while self.leads and self._store.add(LEFT, 0) < len(self.members) and time.monotonic() < deadline:
                time.sleep(0.01)

        self._open = False
        self._wake.set()
        Errand(leave).join(2 * _FINISH_S)


def encoded(message: Member | Heartbeat | Failure) -> str:
    """Return a message as the store takes it."""
    return msgspec.json.encode(message).decode()


def decoded(content: bytes, kind: type[M]) -> M:
    """Return the message that was found in the store; raises ``msgspec.MsgspecError`` where it is none."""
    message: M = _DECODERS[kind].decode(content)
    return message


def settled(store: "Store", key: str, message: M) -> M:
    """Write a message, unless there is one, and return that which was first."""
    return decoded(store.compare_set(key, "", encoded(message)), type(message))


def over_in(store: "Store") -> Failure | None:
    """Return why the run of a store is over, if it is."""
    return decoded(store.get(OVER), Failure) if store.check([OVER]) else None


def _failure_of(error: BaseException, launcher: int) -> Failure:
    """Return a rank's failure by what it has raised; SIGTERM comes to all ranks of a host where one fails."""
    notes = tuple(getattr(error, "__notes__", ()))
    if isinstance(error, StageplanError):
        return Failure(reason=str(error), cause=cause_of(error), notes=notes)
    if isinstance(error, KeyboardInterrupt):
        if os.getppid() != launcher:
            return Failure(reason="its launcher has ended")
        told = signal.SIGTERM in error.args
        return Failure(reason="told to end" if told else "interrupted", cause="neighbour" if told else "stage")
    return Failure(reason=f"{type(error).__name__}: {one_line(error)}", notes=notes)
