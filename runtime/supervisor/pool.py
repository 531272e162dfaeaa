"""The stage processes: started once, one a stage, each pinned to its core; supervised, and ended whatever happens."""

import contextlib
import math
import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import send_handle
from typing import TYPE_CHECKING, Any, Protocol, Self

import runtime.channels
from profiler.machine import await_end, await_forkserver, start, uninterrupted
from runtime.channels import Rendezvous
from runtime.errors import Failure, RunError
from runtime.supervisor.failures import (
    STALL_TIMEOUT_S,
    Watch,
    death,
    error_of,
    hang,
    hung,
    is_stopped,
    patience_s,
    waiting,
)
from runtime.worker import Phase, Progress, Report, StageStatus, receive, send, serve

if TYPE_CHECKING:
    from torch.distributed import TCPStore

GRACE_S = 0.5
"""How long the other stages may take to report after one has failed, so that the first cause is found."""
TICK_S = 0.25
"""How often the stages are looked at while they work."""


@dataclass(frozen=True, slots=True)
class StageProcess:
    """A stage's process."""

    process: BaseProcess
    control: Connection
    core: int
    status: StageStatus

    @property
    def pid(self) -> int:
        """The process's number."""
        return self.process.pid or 0


def started(stage: int, core: int, patience_s: float) -> StageProcess:
    """Start a stage's process, which is given up when a message to or from it is stuck for ``patience_s``."""
    try:
        status = StageStatus.create()
        try:
            process, ours = start(serve, core, name=f"stageplan-stage-{stage}")
        except BaseException:
            status.close()
            raise
    except OSError as error:
        raise RunError(
            f"the process of stage {stage} cannot be started: {error.strerror}; look at the limits of ulimit -a"
        ) from error
    line = socket.socket(fileno=ours.fileno())
    for direction in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
        line.setsockopt(socket.SOL_SOCKET, direction, struct.pack("@ll", math.ceil(patience_s), 0))
    line.detach()
    return StageProcess(process, ours, core, status)


class Supplier(Protocol):
    """Hands minibatches to stages while they are waited for.

    Attributes:
        active_s: When it last did, on the machine's monotonic clock.
    """

    active_s: float

    def supply(self) -> bool:
        """Hand out what there is room for; say whether there may be room for more at once."""

    @property
    def sources(self) -> Sequence[Any]:
        """What to wait for until there may be room."""


class WorkerPool:
    """One process per stage; a context manager that leaves none behind.

    It holds all stages of a pipeline, or, where others run elsewhere, some of them.

    Attributes:
        cores: The core of each stage that is here.
        ranks: Which ranks are here, ascending: of the stages with these numbers.
        stall_timeout_s: How long a stage may be at one action, or a loader at one minibatch; None: as usual.
        describe: Names a rank in errors; elsewhere, ``stage`` counts those that are here from 0.
    """

    def __init__(
        self,
        cores: Sequence[int],
        *,
        stall_timeout_s: float | None = None,
        ranks: Sequence[int] | None = None,
        look: Watch | None = None,
    ) -> None:
        """Start a process for each entry of ``cores`` and wait until all have imported what they need.

        Args:
            cores: The core of each stage.
            stall_timeout_s: How long a stage may be at one action before it counts as hung; None: by its prediction.
            ranks: Which ranks are here, where others run elsewhere; None: as many as cores, and no others.
            look: Called now and then, whatever is waited for, with what the stages that are here are doing; what it
                raises ends the wait.
        """
        self.describe: Callable[[int], str] = lambda rank: f"stage {rank}"
        self.stall_timeout_s, self._look = stall_timeout_s, look
        self.ranks = tuple(range(len(cores)) if ranks is None else ranks)
        self._alone = ranks is None
        self._workers: list[StageProcess] = []
        self.cores = tuple(cores)
        self._store: TCPStore | None = None
        self._told = False
        self._start()

    def _start(self) -> None:
        await_forkserver()
        try:
            for stage, core in zip(self.ranks, self.cores, strict=True):
                with uninterrupted():
                    self._workers.append(started(stage, core, max(self.stall_timeout_s or 0.0, STALL_TIMEOUT_S)))
                self._hand_over(self._workers[-1])
            self.collect()
        except BaseException:
            self.close()
            raise
        self._told = False

    @staticmethod
    def _hand_over(worker: StageProcess) -> None:
        """Give a process its status; one that has died already is found by its end."""
        with contextlib.suppress(OSError):
            for descriptor in worker.status.descriptors:
                send_handle(worker.control, descriptor, worker.pid)

    def __enter__(self) -> Self:
        """Return the pool."""
        return self

    def __exit__(self, *_error: object) -> None:
        """End all processes."""
        self.close()

    def __len__(self) -> int:
        return len(self._workers)

    @property
    def pids(self) -> tuple[int, ...]:
        """The process of each stage."""
        return tuple(worker.pid for worker in self._workers)

    def rendezvous(self) -> Rendezvous:
        """Return where the processes meet for gloo, which stays open for as long as they live."""
        self._store = self._store or runtime.channels.open_store()
        return runtime.channels.rendezvous_of(self._store)

    def tell(self, stage: int, message: Any) -> None:
        """Send a message to one stage."""
        worker, self._told = self._workers[stage], True
        try:
            send(worker.control, message, worker.pid)
        except OSError as error:
            worker.process.join(GRACE_S)
            if not worker.process.is_alive():
                self.collect()  # which names the first at fault
            describe = self.describe(self.ranks[stage])
            self.close()
            raise RunError(
                f"{describe} on core {worker.core} reads no messages ({error.strerror}); try again"
            ) from error

    def tell_all(self, message: Any) -> None:
        """Send a message to every stage."""
        for stage in range(len(self)):
            self.tell(stage, message)

    def collect(self, expected_s: Sequence[float] = ()) -> None:
        """Wait until every stage is done with its last message.

        Args:
            expected_s: How long that is predicted to take each stage.
        """
        least_s = self.stall_timeout_s or 0.0  # which is about actions, and must not cut short what is none
        wanted_s = expected_s or [0.0] * len(self)
        self._collect([max(least_s, patience_s(None, work_s)) for work_s in wanted_s])

    def follow(self, expected_s: Sequence[float], watch: Watch | None, supplier: "Supplier") -> list[Report | None]:
        """Wait until every stage has run its actions.

        Args:
            expected_s: How long the longest action of each stage is predicted to take.
            watch: Called now and then with what every stage is doing.
            supplier: Asked to hand out minibatches whenever there may be room.
        """
        return self._collect([patience_s(self.stall_timeout_s, work_s) for work_s in expected_s], watch, supplier)

    def _collect(
        self, patience: Sequence[float], watch: Watch | None = None, supplier: "Supplier | None" = None
    ) -> list[Report | None]:
        try:
            return self._heard(patience, watch, supplier)
        except BaseException:  # a later message would be taken for an answer that is still to come
            self.close()
            raise

    def _heard(
        self, patience: Sequence[float], watch: Watch | None, supplier: "Supplier | None"
    ) -> list[Report | None]:
        answers: dict[int, Report | None] = {}
        failures: dict[int, Failure] = {}
        deadline: float | None = None
        begun_s = time.perf_counter()
        while len(answers) + len(failures) < len(self) and (deadline is None or time.monotonic() < deadline):
            pending = [stage for stage in range(len(self)) if stage not in answers and stage not in failures]
            more = supplier.supply() if supplier else False
            sources = supplier.sources if supplier else ()
            for stage in self._ready(pending, list(answers), sources, 0 if more else TICK_S):
                message = self._answer(stage)
                if isinstance(message, Failure):
                    answers.pop(stage, None)
                    failures[stage] = message
                    deadline = deadline or time.monotonic() + GRACE_S
                else:
                    answers[stage], begun_s = message, time.perf_counter()  # who waited for it has time to go on
            if not failures:
                begun_s = max(begun_s, supplier.active_s) if supplier else begun_s
                progress = [worker.status.read() for worker in self._workers]
                allowed = [_since(state, begun_s) for state in progress]
                if self._look:
                    self._look(allowed)
                if watch:
                    watch(progress)
                unheard = {stage: allowed[stage] for stage in pending if stage not in answers}
                failures |= self._hang(unheard, patience)
                deadline = time.monotonic() if failures and deadline is None else deadline
        if failures:
            raise error_of([self._named(stage, failure) for stage, failure in failures.items()])
        return [answers[stage] for stage in range(len(self))]

    def renew(self) -> None:
        """End all processes and start them anew, unless none has been told anything yet.

        A process keeps the shape of what it ran before in its heap.
        """
        if self._told:
            self.close()
            self._start()

    def close(self) -> None:
        """End all processes; they own nothing that outlives them, so none is asked."""
        with uninterrupted():
            for worker in self._workers:
                worker.control.close()
                worker.process.kill()
            for worker in self._workers:
                await_end(worker.process)
                worker.process.close()
                worker.status.close()
            self._workers, self._store = [], None

    def _ready(
        self, pending: Sequence[int], answered: Sequence[int], others: Sequence[Any], patience_s: float
    ) -> list[int]:
        """Return which stages have something to say, or have ended, after ``patience_s`` at the latest.

        Args:
            pending: Stages that have yet to answer.
            answered: Stages that have.
            others: What else to wake up for.
            patience_s: How long to wait.
        """
        sources: dict[Any, int] = {self._workers[stage].process.sentinel: stage for stage in (*pending, *answered)}
        sources |= {self._workers[stage].control: stage for stage in pending}
        woken = wait([*sources, *others], patience_s)
        return list(dict.fromkeys(sources[source] for source in woken if source in sources))

    def _answer(self, stage: int) -> Report | Failure | None:
        worker = self._workers[stage]
        at_s = time.perf_counter()
        try:
            if worker.control.poll():
                message: Report | Failure | None = receive(worker.control)
                return message
        except (EOFError, OSError):
            pass
        worker.process.join(GRACE_S)
        if worker.process.is_alive():  # and stuck halfway through a message
            return hang(worker.pid, worker.status.read(), at_s)
        return death(worker.process.exitcode, worker.status.read().doing, at_s)

    def _hang(self, progress: dict[int, Progress], patience: Sequence[float]) -> dict[int, Failure]:
        now_s = time.perf_counter()
        if not self._alone:  # then it is not known here whether all wait
            progress = {stage: state for stage, state in progress.items() if state.phase != Phase.WAITING}
        stage = hung(progress, patience, now_s, lambda stage: is_stopped(self._workers[stage].pid))
        if stage is None:
            return {}
        stalled = {stage: hang(self._workers[stage].pid, progress[stage], now_s)}
        return stalled | {
            other: waiting(state)
            for other, state in progress.items()
            if other != stage and state.phase == Phase.WAITING
        }

    def _named(self, stage: int, failure: Failure) -> Failure:
        """Say whose failure it is, and where that was."""
        worker = self._workers[stage]
        stack = failure.stack
        if not stack and failure.cause == "stage":
            patience = 0.0
            if worker.process.is_alive() and worker.status.read().phase != Phase.IDLE:
                with contextlib.suppress(ProcessLookupError):  # it has told its failure, and ends just now
                    os.kill(worker.pid, signal.SIGUSR1)
                    patience = GRACE_S
            stack = worker.status.stacks(patience)
        return replace(failure, who=f"{self.describe(self.ranks[stage])} on core {worker.core}", stack=stack)


def _since(progress: Progress, begun_s: float) -> Progress:
    """Let a stage that does not work count from when it was told to, or given something to work on."""
    return progress if progress.phase == Phase.WORKING else replace(progress, since_s=max(progress.since_s, begun_s))
