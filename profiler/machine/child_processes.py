"""Start processes of our own: none outlives this one, none is lost when Ctrl-C comes halfway."""

import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FunctionType
from typing import Any

from profiler.commands import smaller_minibatch, typed_as, typed_form
from profiler.errors import ProcessError, StageplanError, one_line
from profiler.files import is_file
from profiler.machine.blame import shortage
from profiler.machine.interrupts import left_to_parent, uninterrupted
from profiler.machine.template import ORPHANED, ORPHANS, CannotFork, ForkedProcess, current_template
from profiler.machine.ties import tie_to

_GRACE_S = 2.0
_ONE_AT_A_TIME = threading.Lock()
"""Held while a process is started, for which our main script may be hidden."""


_LIBRARIES = ("torchvision.models",)
"""Where models come from that are built in helpers, too."""
UNGUARDED = 86
"""What a process of ours exits with whose parent's script starts it over and over."""


def refuse_reimport() -> None:
    """End this process if it is one of ours that is importing the script which started it.

    A fresh process imports that script, as ``spawn`` needs it; what starts processes there would start them for ever.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(UNGUARDED)


GUARD = (
    "a process of ours imports the script that starts it, and this one calls stageplan when it is imported; put what "
    'it does under if __name__ == "__main__":'
)


def expect_processes(*modules: str) -> None:
    """Begin, in the background, to import modules of ours in the template: once for all processes to come.

    Whatever is in the way is said by what starts the first of them.
    """
    with contextlib.suppress(CannotFork, OSError, ProcessError), uninterrupted():
        current_template().import_modules(modules)


def await_template(*modules: str) -> None:
    """Wait until the template has imported our modules, so that ``start`` takes no time in which Ctrl-C is put off."""
    with contextlib.suppress(CannotFork, OSError):
        with uninterrupted():
            source = current_template()
            source.import_modules(modules)
        source.settle()


def start(target: Callable[..., None], *arguments: Any, name: str) -> tuple[BaseProcess, Connection]:
    """Start ``target(connection, *arguments)`` in a process; return that and the other end of the connection.

    It ends with this thread, leaves Ctrl-C to us, and what it prints goes to stderr. It is forked from the template;
    where that cannot be, it is spawned, and the reason is said once. To be called ``uninterrupted``.
    """
    ours, theirs = multiprocessing.Pipe()
    with ExitStack() as until_started, theirs, _ONE_AT_A_TIME, _without_a_script_that_defines_nothing():
        until_started.callback(ours.close)
        try:
            process: BaseProcess = _process(ForkedProcess, None, theirs, target, arguments, name)
        except CannotFork as reason:
            _say_once(str(reason))
            process = _process(SpawnProcess, os.getpid(), theirs, target, arguments, name)
        until_started.pop_all()
    return process, ours


def _process(  # noqa: PLR0917
    kind: type[ForkedProcess] | type[SpawnProcess], parent: int | None, line: Connection,
    target: Callable[..., None], arguments: tuple[Any, ...], name: str,
) -> BaseProcess:  # fmt: skip
    process = kind(target=_begin, args=(line, parent, typed_form(), target, arguments), name=name, daemon=True)
    process.start()
    return process


@functools.cache
def _say_once(reason: str) -> None:
    sys.stderr.write(f"processes start in seconds, not at once: {reason}\n")


def main_file() -> Path | None:
    """Return the file of our main script; None in a notebook, or at a prompt."""
    path = getattr(sys.modules["__main__"], "__file__", None)
    return Path(path) if path and is_file(Path(path)) else None


@contextmanager
def _without_a_script_that_defines_nothing() -> Iterator[None]:
    """Spare a process that is started meanwhile the import of our main script, if there is nothing in it to find.

    Classes and functions are found by the module that defines them; a script without any need not be imported, and so
    need not guard what it does.
    """
    main = sys.modules["__main__"]
    kinds = (type, FunctionType)
    defines = any(isinstance(thing, kinds) and thing.__module__ == "__main__" for thing in vars(main).values())
    if defines and main_file():
        yield
        return
    hidden: dict[str, Any] = {name: vars(main)[name] for name in ("__spec__", "__file__") if name in vars(main)}
    try:
        main.__spec__ = None
        vars(main).pop("__file__", None)
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)


class Helper:
    """A process that runs one function for us."""

    def __init__(self, process: BaseProcess, connection: Connection) -> None:
        """Hold the process and our end of its connection."""
        self._process, self._connection = process, connection

    def receive(self, patience_s: float | None = None) -> Any:
        """Return what the function sends or, at its end, returns.

        Args:
            patience_s: How long to wait for it; None: for ever.
        """
        if not self._connection.poll(patience_s):
            raise ProcessError(f"a process that helps to measure was not done after {patience_s:.0f} s; try again")
        try:
            message = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join(_GRACE_S)
            if self._process.exitcode == UNGUARDED:
                raise ProcessError(GUARD) from None
            if self._process.exitcode == ORPHANED:
                raise ProcessError(f"{ORPHANS}; try again") from None
            raise ProcessError(
                f"a process that helps to measure ended with {_how(self._process.exitcode)}; "
                f"if memory is short, {smaller_minibatch()}"
            ) from error
        if isinstance(message, StageplanError):
            raise message
        return message

    def send(self, message: Any) -> None:
        """Send the function something; a process that has ended is noticed at the next ``receive``."""
        with contextlib.suppress(OSError):
            self._connection.send(message)


@contextmanager
def helper(function: Callable[..., Any], *arguments: Any) -> Iterator[Helper]:
    """Run ``function(connection, *arguments)`` in a fresh process, which ends with the context whatever it does."""
    await_template(function.__module__, *(library for library in _LIBRARIES if library in sys.modules))
    with uninterrupted():
        try:
            process, connection = start(_answer, function, arguments, name="stageplan-helper")
        except OSError as error:
            raise ProcessError(
                f"a process that helps to measure cannot be started: {error.strerror}; look at the limits of ulimit -a"
            ) from error
    try:
        yield Helper(process, connection)
    finally:
        with uninterrupted():
            connection.close()
            process.kill()
            process.join()


def _begin(
    connection: Connection, parent: int | None, form: str, target: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    """Tie this process's life to its parent's before anything slow is imported, and become what it is for."""
    left_to_parent()
    if parent is None or tie_to(parent):  # what is forked is tied already
        os.dup2(2, 1)
        with typed_as(form):
            target(connection, *arguments)


def _answer(connection: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123 - a device
        try:
            message = function(connection, *arguments)
        except StageplanError as error:
            message = error
        except Exception as error:  # noqa: BLE001 - whatever is raised has to reach the parent
            message = shortage(error, "a process that helps to measure") or ProcessError(
                f"a process that helps to measure failed: {type(error).__name__}: {one_line(error)}"
            )
    with contextlib.suppress(OSError):  # the parent may have gone
        connection.send(message)


def _how(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
