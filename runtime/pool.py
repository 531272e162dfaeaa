"""The stage processes: started once, one a stage, each pinned to its core; watched, and ended whatever happens."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Self

from runtime import worker
from runtime.errors import RunError
from runtime.messages import Failed, Ready, receive, send

GRACE_S = 2.0
"""How long the other stages may take to report after one has failed, so that the first cause is found."""


@dataclass(frozen=True, slots=True)
class _Worker:
    process: SpawnProcess
    control: Connection
    core: int


class WorkerPool:
    """One process per stage; a context manager that leaves none behind."""

    def __init__(self, cores: Sequence[int]) -> None:
        """Start a process for each entry of ``cores`` and wait until all have imported what they need.

        Raises:
            RunError: A process did not start.
        """
        self._describe: Callable[[int], str] = lambda stage: f"stage {stage}"
        context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        # A child inherits the mask, so that Ctrl-C during its imports is the parent's to handle.
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for stage, core in enumerate(cores):
                ours, theirs = context.Pipe()
                process = context.Process(
                    target=worker.main, args=(theirs, core), name=f"stageplan-stage-{stage}", daemon=True
                )
                process.start()
                theirs.close()
                self._workers.append(_Worker(process, ours, core))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        try:
            self.collect()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the pool."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all processes."""
        self.close()

    def __len__(self) -> int:
        return len(self._workers)

    @property
    def cores(self) -> tuple[int, ...]:
        """The core of each stage."""
        return tuple(one.core for one in self._workers)

    def describe_with(self, describe: Callable[[int], str]) -> None:
        """Name stages in errors as ``describe(stage)`` does."""
        self._describe = describe

    def tell(self, stage: int, message: Any, descriptors: tuple[int, ...] = ()) -> None:
        """Send a message to one stage.

        Raises:
            RunError: The process has gone, or cannot be reached.
        """
        one = self._workers[stage]
        try:
            send(one.control, message, descriptors, one.process.pid or 0)
        except OSError as error:
            one.process.join(GRACE_S)
            if not one.process.is_alive():
                self.collect()  # which names the first at fault
            self.close()
            raise RunError(f"{self._describe(stage)} cannot be told what to do: {error.strerror}; try again") from error

    def tell_all(self, message: Any) -> None:
        """Send a message to every stage."""
        for stage in range(len(self)):
            self.tell(stage, message)

    def collect(self) -> list[Ready]:
        """Wait until every stage is done with its last message.

        Raises:
            RunError: A stage raised, or its process ended; the message names the first at fault and the pool is closed.
        """
        answers: dict[int, Ready] = {}
        failures: dict[int, Failed] = {}
        deadline: float | None = None
        while len(answers) + len(failures) < len(self):
            pending = {
                source: stage
                for stage, one in enumerate(self._workers)
                if stage not in answers and stage not in failures
                for source in (one.control, one.process.sentinel)
            }
            patience = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = wait(list(pending), patience)
            if not ready:
                break
            for stage in dict.fromkeys(pending[source] for source in ready):  # type: ignore[index]
                message = self._answer(stage)
                if isinstance(message, Failed):
                    failures[stage] = message
                    deadline = deadline or time.monotonic() + GRACE_S
                else:
                    answers[stage] = message
        if failures:
            error = self._error(failures)
            self.close()
            raise error
        return [answers[stage] for stage in range(len(self))]

    def close(self) -> None:
        """End all processes: those that wait for a message end by themselves, the others are terminated."""
        for one in self._workers:
            one.control.close()
            one.process.terminate()
        for one in self._workers:
            one.process.join(GRACE_S)
            if one.process.is_alive():
                one.process.kill()
                one.process.join()
            one.process.close()
        self._workers = []

    def _answer(self, stage: int) -> Ready | Failed:
        one = self._workers[stage]
        try:
            if one.control.poll():
                message: Ready | Failed = receive(one.control)
                return message
        except (EOFError, OSError):
            pass
        one.process.join(GRACE_S)
        code = one.process.exitcode
        how = f"was ended by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exited with {code}"
        return Failed(during="a run or its preparation", reason=f"the process {how}", stack="", consequence=False)

    def _error(self, failures: dict[int, Failed]) -> RunError:
        """Put the first cause into a sentence; its stack is a note, which --debug shows."""
        stage = min(failures, key=lambda number: (failures[number].consequence, number))
        failed, core = failures[stage], self._workers[stage].core
        error = RunError(f"{self._describe(stage)} on core {core} failed in {failed.during}: {failed.reason}")
        error.add_note(failed.stack)
        return error
