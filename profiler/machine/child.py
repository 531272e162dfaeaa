"""Run a function in a fresh process of its own, and leave no process behind.

The function gets a connection to its parent and the given arguments; what it returns reaches the parent, and so does
what it raises.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from profiler.errors import ProcessError, StageplanError, one_line

GRACE_S = 2.0
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


class Child:
    """A process that runs one function."""

    def __init__(self, target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Start it; Ctrl-C is the parent's to handle, so it is masked until the child ignores it."""
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_main, args=(theirs, target, arguments), daemon=True)
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)
            theirs.close()

    def receive(self) -> Any:
        """Return what the function sends or, at its end, returns.

        Raises:
            ProcessError: The process ended before.
            StageplanError: The function raised it.
        """
        try:
            message = self.connection.recv()
        except (EOFError, OSError) as error:
            self._process.join(GRACE_S)
            raise ProcessError(
                f"a process that helps to measure ended with {_how(self._process.exitcode)}; "
                "if memory is short, use a smaller --batch-size"
            ) from error
        if isinstance(message, StageplanError):
            raise message
        return message

    def send(self, message: Any) -> None:
        """Send the function something; a process that has ended is noticed at the next ``receive``."""
        with contextlib.suppress(OSError):
            self.connection.send(message)

    def close(self) -> None:
        """End the process, whatever it does."""
        self.connection.close()
        self._process.kill()
        self._process.join()
        self._process.close()


@contextmanager
def child_process(target: Callable[..., Any], *arguments: Any) -> Iterator[Child]:
    """Run ``target(connection, *arguments)`` in a process of its own for as long as the context lasts."""
    started = Child(target, arguments)
    try:
        yield started
    finally:
        started.close()


def _main(connection: Connection, target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123 - a device
        try:
            message = target(connection, *arguments)
        except StageplanError as error:
            message = error
        except Exception as error:  # noqa: BLE001 - whatever is raised has to reach the parent
            message = ProcessError(f"a process that helps to measure failed: {type(error).__name__}: {one_line(error)}")
    with contextlib.suppress(OSError):  # the parent may have gone
        connection.send(message)


def _how(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
