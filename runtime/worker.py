"""The process of one stage: it obeys its parent's messages, one after the other, until the connection closes."""

import contextlib
import gc
import signal
import socket
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection

from optimizer.schedule import Action
from profiler.errors import one_line
from profiler.process import PeakMemory, release_memory, settle
from runtime.arena import Arena
from runtime.channel import Channel, NeighbourGone
from runtime.messages import Export, Failed, Go, Load, Ready, Report, Unload, receive, receive_descriptor, send
from runtime.stage import Stage
from runtime.types import ActionRecord


def main(control: Connection, core: int) -> None:
    """Serve ``control`` on ``core`` until the parent closes it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it ends this process
    worker = _Worker(control)
    try:
        worker.during = "start"
        settle(core)
        send(control, Ready())
        while True:
            try:
                message = receive(control)
            except EOFError:
                return
            worker.obey(message)
    except Exception as error:  # noqa: BLE001 - whatever a stage raises has to reach the parent
        with contextlib.suppress(OSError):  # the parent may have gone
            send(control, failure(worker.during, error))


def failure(during: str, error: Exception) -> Failed:
    """Put an exception into words for the parent."""
    return Failed(
        during=during,
        reason=f"{type(error).__name__}: {one_line(error)}",
        stack=traceback.format_exc(),
        consequence=isinstance(error, NeighbourGone),
    )


class _Worker:
    def __init__(self, control: Connection) -> None:
        self.control = control
        self.during = "start"
        self._stage: Stage | None = None
        self._channels: list[Channel] = []
        self._memory: PeakMemory | None = None

    def obey(self, message: Load | Go | Export | Unload) -> None:
        match message:
            case Load():
                self.during = "hand-over and warm-up"
                self._load(message)
                send(self.control, Ready())
            case Go():
                send(self.control, Ready(self._run()))
            case Export():
                self.during = "export"
                target = Arena(receive_descriptor(self.control))
                assert self._stage is not None
                self._stage.export(target)
                target.close()
                send(self.control, Ready())
            case Unload():
                self._unload()
                send(self.control, Ready())

    def _load(self, load: Load) -> None:
        self._memory = PeakMemory()
        weights = Arena(receive_descriptor(self.control))
        before = self._channel(load.segment.receives, load.slots_before)
        behind = self._channel(load.segment.sends, load.slots_behind)
        self._channels = [channel for channel in (before, behind) if channel]
        self._stage = Stage(load, weights, before, behind)
        weights.close()
        del weights  # and with it the mapping, which would count as this process's memory
        self._memory.forget_peak()
        self._stage.warm_up()

    def _channel(self, specs: tuple, slots: int) -> Channel | None:  # type: ignore[type-arg]
        if not slots:
            return None
        arena = Arena(receive_descriptor(self.control))
        bell = socket.socket(fileno=receive_descriptor(self.control))
        channel = Channel(arena, specs, slots, bell, self.control)
        arena.close()
        return channel

    def _run(self) -> Report:
        assert self._stage is not None
        records = []
        for action in self._stage.load.actions:
            self.during = f"{NAMES[action.kind]} of minibatch {action.minibatch}"
            records.append(_execute(self._stage, action))
        assert self._memory is not None
        return Report(
            actions=tuple(records),
            losses=tuple(self._stage.losses),
            peak_rss_bytes=self._memory.growth_bytes(),
        )

    def _unload(self) -> None:
        self.during = "unload"
        for channel in self._channels:
            channel.close()
        self._channels, self._stage = [], None
        gc.collect()
        release_memory()


NAMES = {"F": "forward", "B": "backward", "U": "update"}


def _execute(stage: Stage, action: Action) -> ActionRecord:
    """Run one action and record when it waited, computed and sent."""
    asked = time.perf_counter()
    minibatch = action.minibatch
    send_result: Callable[[], None] | None = None
    version = stage.versions.used_by(minibatch)
    if action.kind == "F":
        received = stage.receive(minibatch)
        start, cpu = time.perf_counter(), time.thread_time()
        outputs = stage.forward(minibatch, received)
        if (behind := stage.behind) is not None:
            send_result = lambda: behind.send_activations(minibatch, outputs)  # noqa: E731
    elif action.kind == "B":
        received = stage.behind.receive_gradients(minibatch) if stage.behind else []
        start, cpu = time.perf_counter(), time.thread_time()
        gradients = stage.backward(minibatch, received)
        if (before := stage.before) is not None:
            send_result = lambda: before.send_gradients(minibatch, gradients)  # noqa: E731
    else:
        start, cpu = time.perf_counter(), time.thread_time()
        stage.update(minibatch)
        version = minibatch + 1
    computed = time.perf_counter()
    if send_result is not None:
        send_result()
    return ActionRecord(
        kind=action.kind,
        minibatch=minibatch,
        version=version,
        wait_s=start - asked,
        start_s=start,
        computed_s=computed,
        end_s=time.perf_counter(),
        cpu_s=time.thread_time() - cpu,
    )
