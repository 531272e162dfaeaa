"""The session of a rank among others: they exchange facts, watch each other, and end together.

A thread of each rank gives heartbeats in the launcher's store and reads those of all others, whatever the rank is at.
Each also waits for a message of the next rank over gloo, which raises at once when that one's process ends. Whoever
finds a root cause settles it in the store, where the first one counts, and whatever a rank is waiting for ends with it.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from profiler.errors import StageplanError, one_line
from runtime.channels import Rendezvous
from runtime.cluster.errand import SLICE_S, Errand
from runtime.cluster.messages import Heartbeat, Member, decoded, encoded
from runtime.cluster.root_cause import GRACE_S, RootCauseAnalysis, silence
from runtime.cluster.session import Session
from runtime.cluster.torchrun import Placement
from runtime.errors import Drained, Ended, NeighbourGone
from runtime.failure import Failure, cause_of
from runtime.worker import Phase, Progress

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup, Store

T = TypeVar("T")
M = TypeVar("M", Member, Failure)
LEAD = 0
BEAT_S = 0.25
"""How often a rank gives a heartbeat."""
PINGS = 30
ARRIVAL, HEARTBEAT, ROOT_CAUSE, LEFT = "arrival {}", "heartbeat {}", "root cause", "left"
_WATCH, _CLOCK, _STATE = range(3)
_FINISH_S, _POLL_S = 2.0, 0.002
_PIECE_BYTES = 4 << 20
"""The store takes no more than 8 MiB at once."""


class RankSession(Session):
    """One rank's view of all ranks."""

    distributed = True

    def __init__(
        self,
        place: Placement,
        members: Sequence[Member],
        store: "Store",
        connect: "Callable[[], ProcessGroup]",
        rendezvous: Rendezvous,
        *,
        timeout_s: float,
        stall_s: float,
    ) -> None:
        """Start to watch.

        Args:
            place: This rank's.
            members: All ranks, which have come.
            store: In which only they write.
            connect: Connects all ranks over gloo.
            rendezvous: Where the stages' processes meet.
            timeout_s: How long a rank may be silent.
            stall_s: How long all may wait for each other.
        """
        self.rank, self.members, self.rendezvous = place.rank, tuple(members), rendezvous
        self._store, self._connect, self._timeout_s = store, connect, timeout_s
        self._analysis = RootCauseAnalysis(members, place.rank, timeout_s, stall_s)
        self._root_cause: Failure | None = None
        self._told: StageplanError | None = None
        self._own, self._launcher = Heartbeat(), place.launcher
        self._asked_s: float | None = None
        self._overdue: tuple[float, float] | None = None
        self._exchanged, self._settled, self._stopping = "", False, False
        self._watching: Errand[None] | None = None
        self._wake, self._saying, self._open = threading.Event(), threading.Lock(), True
        self._serving = Errand(self._serve)

    @property
    def here(self) -> Member:
        """The number, host and address of the rank that this process is."""
        return self.members[self.rank]

    def look(self, progress: Sequence[Progress] = ()) -> None:
        """Note what the stage that is here does, and end with the others if the run is over."""
        now_s = time.perf_counter()
        for stage in progress:
            waits = stage.phase == Phase.WAITING
            self._say(waits_for=stage.doing if waits else "", waits_s=max(0.0, now_s - stage.since_s))
        self._note_overdue(now_s)
        if self._root_cause:
            self._told = self._root_cause.error()
            raise self._told

    @property
    def stopping(self) -> bool:
        """Whether a rank has asked all to ``stop``."""
        return self._stopping

    def stop(self) -> None:
        """Ask all ranks to train what has been read, and no more; takes no lock, for a signal's handler calls it."""
        self._stopping = True

    def exchange(self, topic: str, value: T, kind: Any) -> list[T]:
        """Contribute to a topic, wait for all ranks to do so, and return what each has contributed."""
        content, ranks, began_s = msgspec.msgpack.encode(value), range(len(self.members)), time.perf_counter()

        def gather() -> list[bytes]:
            for start in range(0, len(content), _PIECE_BYTES):
                self._store.append(f"{topic} of {self.rank}", content[start : start + _PIECE_BYTES])  # type: ignore[attr-defined]
            self._store.add(topic, 1)
            while self._store.add(topic, 0) < len(ranks):
                if not self._open:
                    return []  # nobody waits for it any more
                time.sleep(min(BEAT_S, _POLL_S + (time.perf_counter() - began_s) / 8))
            contents = self._store.multi_get([f"{topic} of {rank}" for rank in ranks])
            self._store.delete_key(f"{self._exchanged} of {self.rank}")  # which all have read by now
            self._exchanged = topic
            return contents

        return [msgspec.msgpack.decode(content, type=kind) for content in self._carry_out(gather)]

    def put_together(self, topic: str, memory: memoryview, regions: Sequence[tuple[int, int]]) -> None:
        """Send regions (offset, bytes) of ``memory`` to rank 0, or take in those of all others."""
        import torch

        everyone = self.exchange(topic, list(regions), list[tuple[int, int]])
        whole = torch.frombuffer(memory, dtype=torch.uint8)

        def carry() -> None:
            for rank, owned in enumerate(everyone[1:], 1):
                for offset, size in owned:
                    if self.leads:
                        self._group.recv([whole[offset : offset + size]], rank, _STATE).wait()
                    elif rank == self.rank:
                        self._group.send([whole[offset : offset + size]], LEAD, _STATE).wait()

        self._carry_out(carry)

    def spread(self, topic: str, content: bytes) -> bytes:
        """Return rank 0's ``content``, on every rank."""
        import torch

        size, *_ = self.exchange(topic, len(content), int)
        if not size:
            return b""
        whole = torch.frombuffer(bytearray(content if self.leads else size), dtype=torch.uint8)
        self._carry_out(lambda: self._group.broadcast(whole, LEAD).wait())
        return whole.numpy().tobytes()

    def clock(self) -> tuple[float, float]:
        """Compare this rank's clock with that of rank 0, which answers one rank after the other.

        Of some round trips the quickest counts: rank 0 read its clock between sending and receiving (Cristian,
        "Probabilistic clock synchronization", 1989).
        """
        import torch

        ping, shown = torch.zeros(2, 1, dtype=torch.float64)

        def answer() -> tuple[float, float]:
            for rank in range(1, len(self.members)):
                for _ in range(PINGS):
                    self._group.recv([ping], rank, _CLOCK).wait()
                    self._group.send([shown.fill_(time.perf_counter())], rank, _CLOCK).wait()
            return 0.0, 0.0

        def ask() -> tuple[float, float]:
            best = (0.0, float("inf"))
            for _ in range(PINGS):
                answer = self._group.recv([shown], LEAD, _CLOCK)
                sent_s = time.perf_counter()
                self._group.send([ping], LEAD, _CLOCK).wait()
                answer.wait()
                received_s = time.perf_counter()
                reading = float(shown) - (sent_s + received_s) / 2, (received_s - sent_s) / 2
                best = min(best, reading, key=lambda reading: reading[1])
            return best

        return self._carry_out(answer if self.leads else ask)

    @contextmanager
    def ending_together(self) -> Iterator[None]:
        """End with the context on every rank alike: all are done, or all tell the same fault."""
        try:
            self._group = self._carry_out(self._connect)
            self._watching = Errand(self._watch)
            yield
            self._agree_on_the_end()
        except Drained:  # as on all ranks
            self._agree_on_the_end()
            raise
        except BaseException as error:
            if error is self._told:
                raise
            root_cause = self._told_everyone(error)
            if isinstance(error, StageplanError) and root_cause:
                raise root_cause.error() from error
            raise
        finally:
            self._close()

    def _agree_on_the_end(self) -> None:
        self.exchange("the end", None, type(None))
        self._settled = True

    def _carry_out(self, call: Callable[[], T]) -> T:
        """Make a call that waits for other ranks in a thread of its own, and watch them meanwhile."""
        try:
            return Errand(call).answer(self.look)
        except RuntimeError as error:
            raise NeighbourGone("another rank has gone") from error

    def _say(self, **news: Any) -> None:
        with self._saying:
            self._own = msgspec.structs.replace(self._own, **news)

    def _told_everyone(self, error: BaseException) -> Failure | None:
        """Tell the others what has happened here, and return what is said of it everywhere, if that comes in time."""
        failure = self._own.failure or _failure_of(error)
        self._say(failure=failure)
        self._wake.set()
        deadline = time.perf_counter() + (self._timeout_s if failure.cause == "neighbour" else 0) + 10 * GRACE_S
        while not self._root_cause and time.perf_counter() < deadline:
            self._serving.join(SLICE_S / 10)
            self._note_overdue(time.perf_counter())
        return self._root_cause

    def _watch(self) -> None:
        """Note when the process of the next rank ends before it has said goodbye."""
        import torch

        rank = (self.rank + 1) % len(self.members)
        if rank != self.rank:
            try:
                self._group.recv([torch.zeros(1)], rank, _WATCH).wait()
            except RuntimeError:
                self._say(gone=rank)
                self._wake.set()

    def _serve(self) -> None:
        """Give heartbeats and listen until the session is closed; a store that is gone, or a bug, ends the run, too."""
        try:
            while self._open:
                self._asked_s = time.perf_counter()
                if os.getppid() != self._launcher:  # which has gone, and would leave this process behind
                    self._launcher = os.getppid()
                    self._say(failure=self._own.failure or Failure(reason="its launcher has ended"))
                    os.kill(os.getpid(), signal.SIGTERM)
                self._beat()
                if not self._root_cause:
                    self._listen()
                self._asked_s = None
                self._wake.wait(BEAT_S)
                self._wake.clear()
            self._beat(left=self._settled)  # else its end is to be noticed
        except RuntimeError:
            reason = "its launcher's store has gone: that process, or its host, has ended"
            self._root_cause = self._root_cause or Failure(who=str(self.members[LEAD]), reason=reason)
        except Exception as error:  # noqa: BLE001 - a thread that dies quietly would leave every rank waiting
            self._root_cause = Failure(who=str(self.here), reason=f"{type(error).__name__}: {one_line(error)}")

    def _beat(self, **news: Any) -> None:
        self._say(number=self._own.number + 1, stopping=self._stopping, **news)
        self._store.set(HEARTBEAT.format(self.rank), encoded(self._own))

    def _listen(self) -> None:
        """Take in what the ranks have to say, and settle the root cause once it is known."""
        heartbeats = self._store.multi_get([HEARTBEAT.format(rank) for rank in range(len(self.members))])
        now_s = time.perf_counter()
        heard = [decoded(content, Heartbeat) for content in heartbeats]
        self._stopping |= any(heartbeat.stopping for heartbeat in heard)
        self._analysis.hear(heard, now_s)
        over, own = root_cause_in(self._store), self._analysis.root_cause(now_s)
        if own and not over:
            over = settled(self._store, ROOT_CAUSE, own)
        self._root_cause, self._settled = over or self._root_cause, over is not None

    def _note_overdue(self, now_s: float) -> None:
        """Give the store up where it does not answer; seen twice, for this process itself may have been stopped."""
        asked_s = self._asked_s
        if asked_s is None or now_s - asked_s < self._timeout_s:
            self._overdue = None
        elif self._overdue is None or self._overdue[0] != asked_s:
            self._overdue = asked_s, now_s
        elif now_s - self._overdue[1] > 2 * BEAT_S:
            reason = f"{silence(now_s - asked_s)} (seen from {self.here}, which may be cut off itself)"
            self._root_cause = self._root_cause or Failure(who=str(self.members[LEAD]), reason=reason)

    def _close(self) -> None:
        """Leave, say goodbye to the rank that watches this one, and let a store that ends with rank 0 be read first."""
        import torch

        before, lost = (self.rank - 1) % len(self.members), self._analysis.lost
        awaited = len(self.members) - len(lost) if self.leads else 0

        def goodbye() -> None:
            self._serving.join()
            if before not in {self.rank, *lost} and self._own.left:
                self._group.send([torch.zeros(1)], before, _WATCH).wait()

        self._open = False
        self._wake.set()
        deadline = time.monotonic() + _FINISH_S
        last_words = [Errand(goodbye), self._watching] if self._watching else []
        if (self.rank + 1) % len(self.members) in lost:  # which says nothing more
            last_words = last_words[:1]
        for last in (*last_words, self._serving):
            last.join(max(0.0, deadline - time.monotonic()))
        if not self._serving.is_alive():
            Errand(lambda: leave(self._store, awaited)).join(_FINISH_S)


def settled(store: "Store", key: str, message: M) -> M:
    """Write a message, unless there is one, and return that which was first."""
    return decoded(store.compare_set(key, "", encoded(message)), type(message))


def root_cause_in(store: "Store") -> Failure | None:
    """Return the root cause that is settled in a run's store, if one is."""
    return decoded(store.get(ROOT_CAUSE), Failure) if store.check([ROOT_CAUSE]) else None


def leave(store: "Store", ranks: int) -> None:
    """Ask nothing more of a run's store, and wait a moment for others to do so: it may end with this process."""
    store.add(LEFT, 1)
    deadline = time.monotonic() + _FINISH_S
    while store.add(LEFT, 0) < ranks and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _failure_of(error: BaseException) -> Failure:
    """Return a rank's failure by what it has raised."""
    notes = tuple(getattr(error, "__notes__", ()))
    if isinstance(error, StageplanError):
        return Failure(
            reason=str(error), cause="neighbour" if isinstance(error, Ended) else cause_of(error), notes=notes
        )
    what = "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {one_line(error)}"
    return Failure(reason=what, notes=notes)
