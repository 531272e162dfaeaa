"""The process of one stage: it obeys its parent's messages, one after the other, until the connection closes."""

import contextlib
import gc
import math
import os
import resource
import socket
import time
import traceback
from multiprocessing.connection import Connection

from torch import Tensor

import runtime.channels
from optimizer.schedule import KIND_NAMES, Action, Kind, actions_of
from profiler.errors import StageplanError, one_line
from profiler.execution import forget_casts, keeping_casts
from profiler.machine import PeakMemory, affinity_variables, pin, release_memory, use_torch_once
from runtime.channels import Channel, Direction
from runtime.errors import InputError
from runtime.fault import cause_of
from runtime.stage_run import ActionRecord, StageRun, StageTimes
from runtime.worker.data import Synthetic
from runtime.worker.messages import (
    CutEnd,
    Export,
    Failed,
    Go,
    Load,
    Ready,
    Report,
    Unload,
    receive,
    send,
)
from runtime.worker.stage import Channels, Stage
from runtime.worker.status import Phase, StageStatus
from runtime.worker.turn import Turn

_AWAITED: dict[Kind, str] = {"F": "activations", "B": "gradients"}


def serve(control: Connection, core: int, status: StageStatus) -> None:
    """Serve ``control`` on ``core`` until the parent closes it."""
    worker = _Worker(control, core, status)
    try:
        pin(core)
        use_torch_once()
        send(control, Ready())
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


def failure(during: str, error: Exception) -> Failed:
    """Put an exception into words for the parent."""
    ours = isinstance(error, StageplanError)
    return Failed(
        during=during,
        reason=one_line(error) if ours else f"{type(error).__name__}: {one_line(error)}",
        stack="" if ours else traceback.format_exc(),
        cause=cause_of(error),
        at_s=time.perf_counter(),
    )


class _Worker:
    def __init__(self, control: Connection, core: int, status: StageStatus) -> None:
        self.control, self.core, self.status = control, core, status
        self._stage: Stage | None = None
        self._channels = Channels()
        self._turn: Turn | None = None
        self._memory: PeakMemory | None = None

    def obey(self, message: Load | Go | Export | Unload) -> None:
        match message:
            case Load():
                self.status.note(Phase.WORKING, "hand-over and warm-up")
                self._load(message)
                send(self.control, Ready())
            case Go():
                send(self.control, Ready(self._run(message)))
            case Export():
                self.status.note(Phase.WORKING, "export")
                assert self._stage is not None
                self._stage.export(message.target, message.state)
                message.target.unmap()
                send(self.control, Ready())
            case Unload():
                self.status.note(Phase.WORKING, "unload")
                self._unload()
                send(self.control, Ready())

    def _load(self, load: Load) -> None:
        synthetic = Synthetic(load.common.data)
        synthetic.prepare(
            inputs=load.seat.before is load.seat.inputs is None, targets=load.seat.behind is load.seat.targets is None
        )
        self._memory = PeakMemory()
        if load.common.rendezvous:
            runtime.channels.join(load.common.rendezvous, load.stage, load.common.stages)
        self._channels = Channels(
            before=self._channel(load, load.seat.before, behind=False),
            behind=self._channel(load, load.seat.behind, behind=True),
            inputs=self._channel(load, load.seat.inputs, behind=False),
            targets=self._channel(load, load.seat.targets, behind=False),
        )
        self._turn = Turn(load.seat.turn) if load.seat.turn else None
        self._stage = Stage(load, self._channels, synthetic)
        load.common.weights.unmap()
        self._memory.forget_peak()
        self._stage.warm_up()
        self._refuse_moved_threads()

    def _channel(self, load: Load, end: CutEnd | None, *, behind: bool) -> Channel | None:
        if end is None:
            return None
        if end.memory is None or end.notifications is None:
            return runtime.channels.gloo_channel(end.cut, load.stage + (1 if behind else -1), behind=behind)
        channel = runtime.channels.shared_memory_channel(end.memory, end.cut, end.notifications)
        end.memory.close()
        return channel

    def _refuse_moved_threads(self) -> None:
        """Refuse to run where a threading library has moved this process off its core since it was pinned."""
        affinity = os.sched_getaffinity(0)
        if affinity != {self.core}:
            raise InputError(
                f"the process pinned to core {self.core} was moved to {sorted(affinity)}"
                f"{affinity_variables()}; unset what binds threads to cores"
            )

    def _run(self, go: Go) -> Report:
        assert self._stage is not None
        assert self._memory is not None
        self._stage.begin(go)
        run = _Run(self._stage, self.status, self._turn)
        load = self._stage.load
        records: list[ActionRecord] = []
        for action in actions_of(load.common.pace, load.common.stages, load.stage, run.exists):
            record = run.carry_out(action)
            if action.minibatch < (go.recorded or 0):
                records.append(record)
        return Report(
            run=StageRun(
                stage=load.stage,
                host=socket.gethostname(),
                core=self.core,
                whole=run.times(self._memory.growth_bytes()),
                actions=tuple(records),
            ),
            losses=tuple(self._stage.losses),
            last_loss=self._stage.last_loss,
            diverged=self._stage.diverged,
            stopped=self._stage.stopped,
            minibatch_digests=tuple(self._stage.minibatch_digests),
        )

    def _unload(self) -> None:
        self._channels.close()
        if self._turn:
            self._turn.close()
        self._channels, self._turn, self._stage = Channels(), None, None
        forget_casts()  # which hold the weights that they are of
        gc.collect()
        release_memory()


class _Run:
    """One run of one stage's actions; the status always says which is under way."""

    def __init__(self, stage: Stage, status: StageStatus, turn: Turn | None) -> None:
        self._stage, self._status, self._turn = stage, status, turn
        self._done, self._busy_s = 0, 0.0
        self._taken: tuple[list[Tensor], float] | None = None
        self._next = 0
        self._spent_s: dict[Kind, float] = dict.fromkeys(KIND_NAMES, 0.0)
        self._cpu_s = self._norms_s = 0.0
        self._wait_s, self._began_s, self._ended_s, self._minibatches = 0.0, 0.0, 0.0, 0

    def exists(self, minibatch: int) -> bool:
        """Say whether there is a minibatch of that number, for which the one before this stage may have to be heard."""
        stage = self._stage
        if stage.minibatches is not None:
            return minibatch < stage.minibatches
        if minibatch < self._next:
            return True
        self._taken = self._awaited("F", minibatch)
        if self._taken is None:
            stage.minibatches = minibatch
            if stage.behind:
                stage.behind.activations.end()
            return False
        self._next = minibatch + 1
        return True

    def times(self, peak_rss_bytes: int | None) -> StageTimes:
        """Return what the run took so far, in time and memory."""
        return StageTimes(
            minibatches=self._minibatches,
            began_s=self._began_s,
            ended_s=self._ended_s,
            forward_s=self._spent_s["F"],
            backward_s=self._spent_s["B"],
            update_s=self._spent_s["U"],
            cpu_s=self._cpu_s,
            wait_s=self._wait_s,
            peak_rss_bytes=peak_rss_bytes,
        )

    def carry_out(self, action: Action) -> ActionRecord:
        """Run one action, alone on the core where stages take turns, and record when it waited, computed and sent."""
        received, wait_s = self._received(action)
        if self._turn:
            self._note(Phase.WAITING, f"the wait for its turn on the core, for {_words(action)}")
        with self._turn or contextlib.nullcontext():
            record = self._work(action, received, wait_s)
            if self._stage.load.common.settings.record_digests:
                self._digest(action)
        if direction := self._way_out(action):
            self._note(Phase.WAITING, f"the wait to hand over the result of {_words(action)}")
            direction.announce(action.minibatch)  # which may wait for the neighbour, so it takes no turn
        if action.kind == "B":
            self._stage.release(action.minibatch)
        self._count(record)
        return record

    def _count(self, record: ActionRecord) -> None:
        self._began_s = self._began_s or record.start_s
        self._ended_s = record.end_s
        self._wait_s += record.wait_s
        self._cpu_s += record.cpu_s
        self._spent_s[record.kind] += record.end_s - record.start_s
        self._minibatches += record.kind == "F"

    def _work(self, action: Action, received: list[Tensor], wait_s: float) -> ActionRecord:
        stage, minibatch = self._stage, action.minibatch
        self._note(Phase.WORKING, _words(action))
        faults = _page_faults()
        start, cpu = time.perf_counter() - self._norms_s, time.thread_time() - self._norms_s  # which were work, too
        self._norms_s = 0.0
        results: list[Tensor] | None = []
        if action.kind == "B" and stage.behind and stage.behind.gradients.is_void(minibatch):
            stage.stop(minibatch)
        if stage.stopped:
            stage.pass_over(action)
            results, version = None, stage.used
        elif action.kind == "F":
            version = stage.version(minibatch)
            results = stage.forward(minibatch, received)
            if stage.behind is None:
                stage.stop_at_divergence(minibatch)
        elif action.kind == "B":
            results = stage.backward(minibatch, received)
            version = stage.used
        else:
            version = stage.update(minibatch)
        computed = time.perf_counter()
        direction = self._way_out(action)
        if direction:
            direction.put(minibatch, results)
        end = time.perf_counter()
        self._done += 1
        self._busy_s += end - start
        return ActionRecord(
            kind=action.kind,
            minibatch=minibatch,
            version=version,
            wait_s=wait_s,
            start_s=start,
            computed_s=computed,
            end_s=end,
            cpu_s=time.thread_time() - cpu,
            sent_bytes=sum(tensor.nbytes for tensor in results or ()) if direction else 0,
            page_faults=_page_faults() - faults,
        )

    def _way_out(self, action: Action) -> Direction | None:
        """Return what hands an action's results over to a neighbour; None where none is there to read them."""
        stage = self._stage
        if action.kind == "F":
            return stage.behind.activations if stage.behind else None
        return stage.before.gradients if stage.before and action.kind == "B" else None

    def _received(self, action: Action) -> tuple[list[Tensor], float]:
        """Return what the action needs from a neighbour, and for how long it waited."""
        stage = self._stage
        if action.kind == "U":
            if stage.stopped:
                return [], 0.0
            return [], self._norm_shared(action) if stage.common_norm else 0.0
        taken = self._taken if action.kind == "F" else None
        self._taken = None if taken else self._taken
        received = taken or self._awaited(action.kind, action.minibatch)
        assert received is not None
        return received

    def _norm_shared(self, action: Action) -> float:
        """Work out this stage's part of the norm of all gradients, and return how long it waited for the others'."""
        stage = self._stage
        self._note(Phase.WORKING, f"the norms of gradients before update {action.minibatch}")
        with self._turn or contextlib.nullcontext():
            begun = time.perf_counter()
            stage.take_norms()
            asked = time.perf_counter()
        self._norms_s = asked - begun
        self._note(Phase.WAITING, f"the wait for the other stages' backward before update {action.minibatch}")
        asked = time.perf_counter()
        stage.share_norms()
        return time.perf_counter() - asked

    def _awaited(self, kind: Kind, minibatch: int) -> tuple[list[Tensor], float] | None:
        """Wait for what a forward or backward needs; return it, and for how long; None where nothing more comes."""
        stage = self._stage
        source = (stage.before or stage.inputs) if kind == "F" else stage.behind
        if source is None:
            return [], 0.0
        what = "inputs" if source is stage.inputs else _AWAITED[kind]
        self._note(Phase.WAITING, f"the wait for {what} of minibatch {minibatch}")
        direction = source.activations if kind == "F" else source.gradients
        asked = time.perf_counter()
        received = direction.receive(minibatch)
        return None if received is None else (received, time.perf_counter() - asked)

    def _note(self, phase: Phase, doing: str) -> None:
        loss, total = self._stage.last_loss, self._total()
        self._status.note(phase, doing, done=self._done, total=total, busy_s=self._busy_s, loss=loss)

    def _total(self) -> int:
        """Return how many actions there are; 0 where that is not known yet."""
        load, minibatches = self._stage.load, self._stage.minibatches or 0
        return 2 * minibatches + math.ceil(minibatches / load.common.pace.update_every)

    def _digest(self, action: Action) -> None:
        if action.kind == "F":
            self._stage.digest_buffers(action.minibatch)
        elif action.kind == "B":
            self._stage.digest_gradients(action.minibatch)


def _words(action: Action) -> str:
    return f"{KIND_NAMES[action.kind]} of minibatch {action.minibatch}"


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
