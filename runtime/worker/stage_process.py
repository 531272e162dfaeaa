"""The process of one stage: it obeys its parent's messages, one after the other, until the connection closes."""

import contextlib
import faulthandler
import fcntl
import gc
import os
import resource
import select
import signal
import socket
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle

from torch import Tensor

import runtime.channels
from optimizer.schedule import KIND_NAMES, Kind, Progress
from profiler.errors import StageplanError, one_line
from profiler.execution import forget_casts, keeping_casts
from profiler.machine import PeakMemory, pin, release_memory, use_torch_once
from runtime.channels import Channel, Direction, SharedMemory
from runtime.errors import Failure, InputError, cause_of
from runtime.results import ActionRecord, StageRun, StageTimes
from runtime.worker.data import synthetic_inputs, synthetic_targets
from runtime.worker.messages import CutEnd, Export, Go, Load, Report, Unload, receive, send
from runtime.worker.stage import Stage
from runtime.worker.status import Phase, StageStatus


def serve(control: Connection, core: int) -> None:
    """Be the stage process that ``control`` is the line to, on ``core``, until the parent closes it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # stacks do instead
    stacks, record = recv_handle(control), recv_handle(control)
    faulthandler.enable(stacks)
    faulthandler.register(signal.SIGUSR1, stacks)
    status = StageStatus(SharedMemory(record), stacks)
    worker = _Worker(control, core, status)
    try:
        pin(core)
        use_torch_once()
        send(control, None)
        with keeping_casts():
            while True:
                status.note(Phase.IDLE, "the wait for work")
                try:
                    message = receive(control)
                except EOFError:
                    return
                worker.obey(message)
    except Exception as error:  # noqa: BLE001 - whatever a stage raises has to reach the parent
        with contextlib.suppress(OSError):  # the parent may have gone
            send(control, failure(status.read().doing, error))
        os._exit(1)  # at once, so that the neighbours notice


def failure(doing: str, error: Exception) -> Failure:
    """Put an exception into words for the parent."""
    ours = isinstance(error, StageplanError)
    return Failure(
        doing=doing,
        reason=one_line(error) if ours else f"{type(error).__name__}: {one_line(error)}",
        stack="" if ours else traceback.format_exc(),
        cause=cause_of(error),
        at_s=time.perf_counter(),
    )


class _Worker:
    def __init__(self, control: Connection, core: int, status: StageStatus) -> None:
        self.control, self.core, self.status = control, core, status
        self._stage: Stage | None = None
        self._turn: SharedMemory | None = None
        self._memory: PeakMemory | None = None

    def obey(self, message: Load | Go | Export | Unload) -> None:
        """Do what a message says and send one answer, a report of ``Go``, else None; an error is raised, unanswered."""
        report = None
        match message:
            case Load():
                self.status.note(Phase.WORKING, "hand-over and warm-up")
                self._load(message)
            case Go():
                report = self._run(message)
            case Export():
                self.status.note(Phase.WORKING, "export")
                assert self._stage is not None
                self._stage.export(message.target, message.state)
                message.target.unmap()
            case Unload():
                self.status.note(Phase.WORKING, "unload")
                self._unload()
        send(self.control, report)

    def _load(self, load: Load) -> None:
        data = load.common.data
        own_inputs = synthetic_inputs(data) if load.before is load.inputs is None else []
        own_targets = synthetic_targets(data) if load.behind is load.targets is None else []
        self._memory = PeakMemory()
        if load.common.rendezvous:
            runtime.channels.join(load.common.rendezvous, load.stage, load.common.stages)
        before, inputs, targets = (
            self._channel(load, end, behind=False) for end in (load.before, load.inputs, load.targets)
        )
        self._turn = load.turn
        behind = self._channel(load, load.behind, behind=True)
        self._stage = Stage(load, own_inputs, own_targets, before=before, behind=behind, inputs=inputs, targets=targets)
        load.common.weights.unmap()
        self._memory.forget_peak()
        self._stage.warm_up()
        if os.sched_getaffinity(0) != {self.core}:
            raise InputError(
                f"the process pinned to core {self.core} was moved; unset what binds threads, such as GOMP_CPU_AFFINITY"
            )

    def _channel(self, load: Load, end: CutEnd | None, *, behind: bool) -> Channel | None:
        if end is None:
            return None
        if end.memory is None or end.notifications is None:
            return runtime.channels.gloo_channel(end.cut, load.stage + (1 if behind else -1), behind=behind)
        channel = runtime.channels.shared_memory_channel(end.memory, end.cut, end.notifications)
        end.memory.close()
        return channel

    def _run(self, go: Go) -> Report:
        assert self._stage is not None
        assert self._memory is not None
        self._stage.begin(go)
        load = self._stage.load
        progress = Progress(load.common.pace, load.common.stages, load.stage, go.minibatches)
        run = _Run(self._stage, self.status, self._turn, progress, go.offset_s)
        records = [record for record in run.records() if go.recorded]
        return Report(
            run=StageRun(
                stage=load.stage,
                host=socket.gethostname(),
                core=self.core,
                whole=run.times(self._memory.growth_bytes()),
                actions=tuple(records),
            ),
            losses=tuple(self._stage.losses),
            shares=tuple(self._stage.shares) if not go.recorded else (),
        )

    def _unload(self) -> None:
        if self._stage:
            self._stage.close()
        if self._turn:
            self._turn.close()
        self._turn = self._stage = None
        forget_casts()  # which hold the weights that they are of
        gc.collect()
        release_memory()


_Next = tuple[Kind, int, list[Tensor], float]
"""What a stage does next: its kind and minibatch, what it received for that, and for how long it waited."""


class _Run:
    """One run of one stage, by the rule of its schedule; the status always says what is under way."""

    def __init__(
        self, stage: Stage, status: StageStatus, turn: SharedMemory | None, progress: Progress, offset_s: float
    ) -> None:
        self._stage, self._status, self._turn, self._progress = stage, status, turn, progress
        self._offset_s = offset_s
        self._splits = stage.load.common.pace.rule.splits
        self._done = 0
        self._spent_s: dict[Kind, float] = dict.fromkeys(KIND_NAMES, 0.0)
        self._cpu_s = self._norms_s = 0.0
        self._wait_s, self._began_s, self._ended_s, self._minibatches = 0.0, 0.0, 0.0, 0

    def records(self) -> Iterator[ActionRecord]:
        """Run to the end, and yield what was done when it is done."""
        while choices := list(self._progress.choices()):
            chosen = self._next(choices)
            if chosen is None:
                continue
            yield self._carry_out(chosen)
            self._progress.take(chosen[0])

    def _next(self, choices: Sequence[tuple[Kind, int]]) -> _Next | None:
        """Wait for what a choice needs, and return the first that has all of it; None where no minibatch follows."""
        asked = time.perf_counter()
        kind, minibatch = self._first_ready(choices)
        if kind == "U":
            waited_s = self._norm_shared(minibatch) if self._stage.common_norm else 0.0
            return (kind, minibatch, [], waited_s)
        source = self._way_in(kind)
        if source is None:
            return (kind, minibatch, [], 0.0)
        received = source.receive(minibatch)
        wait_s = time.perf_counter() - asked
        if received is None:
            self._progress.minibatches = self._stage.minibatches = minibatch
            if self._stage.behind:
                self._stage.behind.activations.end()
            return None
        if kind == "F" and source.ends_update(minibatch):
            self._progress.end_update(minibatch)
        return (kind, minibatch, received, wait_s)

    def _first_ready(self, choices: Sequence[tuple[Kind, int]]) -> tuple[Kind, int]:
        """Return the first choice that waits for nothing, or whose message is there; of one alone, that one."""
        ways = [(kind, minibatch, self._way_in(kind)) for kind, minibatch in choices]
        if len(ways) > 1:
            for _, minibatch, way in ways:
                if way is not None:
                    way.await_next(minibatch)
        awaited = [way for _, _, way in ways if way is not None]
        there = awaited
        if len(ways) > 1:
            there = select.select(awaited, [], [], 0.0)[0]
            if not there and len(awaited) == len(ways):
                self._note_wait(choices)
                there = select.select(awaited, [], [])[0]
        elif awaited:
            self._note_wait(choices)
        return next((kind, minibatch) for kind, minibatch, way in ways if way is None or way in there)

    def _note_wait(self, choices: Sequence[tuple[Kind, int]]) -> None:
        source = self._stage.before or self._stage.inputs
        names = {"F": "inputs" if source is self._stage.inputs else "activations", "B": "gradients"}
        what = " or ".join(f"{names[kind]} of minibatch {minibatch}" for kind, minibatch in choices)
        self._note(Phase.WAITING, f"the wait for {what}")

    def _way_in(self, kind: Kind) -> Direction | None:
        """Return what brings what an action needs; None where it needs nothing."""
        stage = self._stage
        if kind == "F":
            source = stage.before or stage.inputs
            return source.activations if source else None
        return stage.behind.gradients if stage.behind and kind == "B" else None

    def times(self, peak_rss_bytes: int | None) -> StageTimes:
        """Return what the run took so far, in time and memory."""
        return StageTimes(
            minibatches=self._minibatches,
            began_s=self._began_s,
            ended_s=self._ended_s,
            forward_s=self._spent_s["F"],
            backward_s=self._spent_s["B"],
            weights_s=self._spent_s["W"],
            update_s=self._spent_s["U"],
            cpu_s=self._cpu_s,
            wait_s=self._wait_s,
            peak_rss_bytes=peak_rss_bytes,
        )

    def _carry_out(self, chosen: _Next) -> ActionRecord:
        """Run one action, alone on the core where stages take turns, and record when it waited, computed and sent."""
        stage, (kind, minibatch, *_) = self._stage, chosen
        if self._turn:
            self._note(Phase.WAITING, f"the wait for its turn on the core, for {_words(kind, minibatch)}")
        with _turn(self._turn):
            record = self._work(chosen)
        if direction := self._way_out(kind):
            self._note(Phase.WAITING, f"the wait to hand over the result of {_words(kind, minibatch)}")
            direction.announce(minibatch)  # which may wait for the neighbour, so it takes no turn
        if kind == ("W" if self._splits else "B"):
            stage.release(minibatch)
        self._count(record)
        return record

    def _count(self, record: ActionRecord) -> None:
        self._began_s = self._began_s or record.start_s
        self._ended_s = record.end_s
        self._wait_s += record.wait_s
        self._cpu_s += record.cpu_s
        self._spent_s[record.kind] += record.end_s - record.start_s
        self._minibatches += record.kind == "F"

    def _work(self, chosen: _Next) -> ActionRecord:
        stage, (kind, minibatch, received, wait_s) = self._stage, chosen
        self._note(Phase.WORKING, _words(kind, minibatch))
        start, cpu = time.perf_counter() - self._norms_s, time.thread_time() - self._norms_s  # which were work, too
        self._norms_s = 0.0
        results: list[Tensor] = []
        version = stage.used
        if kind == "F":
            version = stage.versions.newest
            results = stage.forward(minibatch, received)
        elif kind == "B":
            results = stage.backward(minibatch, received)
            version = stage.used
        elif kind == "W":
            stage.add_weight_gradients(minibatch)
        else:
            version = stage.update()
        computed = time.perf_counter()
        direction = self._way_out(kind)
        if direction:
            direction.put(minibatch, results, ends_update=self._progress.ends_update(minibatch))
        end = time.perf_counter()
        self._done += 1
        return ActionRecord(
            kind=kind,
            minibatch=minibatch,
            version=version,
            wait_s=wait_s,
            start_s=start + self._offset_s,
            computed_s=computed + self._offset_s,
            end_s=end + self._offset_s,
            cpu_s=time.thread_time() - cpu,
        )

    def _way_out(self, kind: Kind) -> Direction | None:
        """Return what hands an action's results over to a neighbour; None where none is there to read them."""
        stage = self._stage
        if kind == "F":
            return stage.behind.activations if stage.behind else None
        return stage.before.gradients if stage.before and kind == "B" else None

    def _norm_shared(self, minibatch: int) -> float:
        """Work out this stage's part of the norm of all gradients, and return how long it waited for the others'."""
        stage = self._stage
        self._note(Phase.WORKING, f"the norms of gradients before update {minibatch}")
        with _turn(self._turn):
            begun = time.perf_counter()
            stage.take_norms()
            asked = time.perf_counter()
        self._norms_s = asked - begun
        self._note(Phase.WAITING, f"the wait for the other stages' backward before update {minibatch}")
        asked = time.perf_counter()
        stage.share_norms()
        return time.perf_counter() - asked

    def _note(self, phase: Phase, doing: str) -> None:
        self._status.note(phase, doing, done=self._done, loss=self._stage.last_loss)


def _words(kind: Kind, minibatch: int) -> str:
    return f"{KIND_NAMES[kind]} of minibatch {minibatch}"


@contextmanager
def _turn(lock: SharedMemory | None) -> Iterator[None]:
    """Have the core to itself among all processes that take turns on it by the same memory, if they do."""
    if lock is None:
        yield
        return
    fcntl.lockf(lock.descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.lockf(lock.descriptor, fcntl.LOCK_UN)
