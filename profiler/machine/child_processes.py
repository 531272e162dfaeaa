"""Start processes of our own: none outlives this one, none is lost when Ctrl-C comes halfway.

They are forked by multiprocessing's forkserver, which has imported torch and our modules and has run none of it: a
process takes milliseconds and a few MiB of its own, not seconds and 290.
"""

import contextlib
import ctypes
import fcntl
import functools
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FunctionType
from typing import Any

from profiler.errors import ProcessError, StageplanError, one_line
from profiler.files import is_file
from profiler.machine.blame import shortage
from profiler.machine.interrupts import SIGNALS, left_to_parent, uninterrupted

_FORKING = multiprocessing.get_context("forkserver")
_IMPORTED = [
    "runtime.worker.stage_process",
    "profiler.measure.memory",
    "torchvision.models",
    "profiler.machine.last_import",
]
"""What is imported once for all processes to come: modules of ours and of torch's only, never the user's script."""
_AT_ITS_START = {"OPENBLAS_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "FATAL"}
"""What has threads should not be forked, and OpenBLAS starts some as it is loaded; torch would print what it raises."""
_SAFE = {"PYTHONSAFEPATH": "1"}
"""No file of the current folder is to stand for a module where it would not for us."""
_SHORT = Path("/dev/shm")  # noqa: S108 - the name of a socket must be short, and TMPDIR need not be
_HELD = "/proc/self/fd/"
_GRACE_S = 2.0
_ONE_AT_A_TIME = threading.Lock()
"""Held while a process is started, for which our main script may be hidden."""
ORPHANED = 255
"""What a process is said to have exited with whose forkserver ended, which ends it."""
ORPHANS = "the process that others are forked from ended, by hand, or because memory or processes ran out"
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


def expect_processes() -> None:
    """Begin, in the background, to import what processes need: once for all of them.

    Whatever is in the way is said by what starts the first of them.
    """
    with contextlib.suppress(OSError), _ONE_AT_A_TIME:
        wanted = _AT_ITS_START if {"", str(Path.cwd())} & set(sys.path) else _AT_ITS_START | _SAFE
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            _FORKING.set_forkserver_preload(_IMPORTED)
            _ensure_running()
        finally:
            _restore(before)


def _ensure_running() -> None:
    """Start the forkserver, unless it runs; its socket is held here, and has no name that could be left behind."""
    server: Any = vars(forkserver)["_forkserver"]
    config: dict[str, Any] = vars(multiprocessing.current_process())["_config"]
    old = server._forkserver_address  # noqa: SLF001 - multiprocessing has no other name for it
    where = _SHORT if os.access(_SHORT, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix=f"stageplan-{os.getpid()}-", dir=where) as folder:
        before, unmasked = config.get("tempdir"), signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        config["tempdir"] = folder
        try:
            server.ensure_running()
            if server._forkserver_address.startswith(folder):  # noqa: SLF001
                held = os.open(server._forkserver_address, os.O_PATH | os.O_CLOEXEC)  # noqa: SLF001
                server._forkserver_address = f"{_HELD}{held}"  # noqa: SLF001 - where one connects to it
                if old and old.startswith(_HELD):  # else it was started by a program of the user's
                    os.close(int(old.removeprefix(_HELD)))
        finally:
            config["tempdir"] = before
            signal.pthread_sigmask(signal.SIG_SETMASK, unmasked)


def _restore(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@functools.cache
def await_forkserver() -> None:
    """Wait until what processes need is imported, so that ``start`` takes no time in which Ctrl-C is put off."""
    expect_processes()
    with _ONE_AT_A_TIME, _main_script_hidden():
        first = _FORKING.Process(target=os.getpid, daemon=True)  # which ends by itself, whatever befalls us
        with contextlib.suppress(EOFError, OSError):  # said by what starts the next one
            first.start()
            first.join()


def start(target: Callable[..., None], *arguments: Any, name: str) -> tuple[BaseProcess, Connection]:
    """Start ``target(connection, *arguments)`` in a process; return that and the other end of the connection.

    It ends with this process, leaves Ctrl-C to us, and what it prints goes to stderr. To be called ``uninterrupted``.
    """
    expect_processes()
    ours, theirs = multiprocessing.Pipe()
    given = theirs, dict(os.environ), os.sched_getaffinity(0), target, arguments
    hidden = nullcontext() if _defines_something() else _main_script_hidden()
    with ExitStack() as until_started, theirs, _ONE_AT_A_TIME, hidden:
        until_started.callback(ours.close)
        process = _FORKING.Process(target=_begin, args=given, name=name, daemon=True)
        try:
            process.start()
        except (EOFError, ConnectionError) as error:
            raise ProcessError(f"{ORPHANS}; try again") from error
        until_started.pop_all()
    return process, ours


def await_end(process: BaseProcess) -> None:
    """Wait until a process is gone that was killed; the forkserver tells of it, and is waked if somebody stopped it."""
    server = vars(forkserver)["_forkserver"]._forkserver_pid  # noqa: SLF001
    if server is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server, signal.SIGCONT)
    process.join()


def main_file() -> Path | None:
    """Return the file of our main script; None in a notebook, or at a prompt."""
    path = getattr(sys.modules["__main__"], "__file__", None)
    return Path(path) if path and is_file(Path(path)) else None


def _defines_something() -> bool:
    """Say whether our main script has classes or functions, which are found by the module that defines them."""
    main = sys.modules["__main__"]
    kinds = (type, FunctionType)
    defines = any(isinstance(thing, kinds) and thing.__module__ == "__main__" for thing in vars(main).values())
    return defines and main_file() is not None


@contextmanager
def _main_script_hidden() -> Iterator[None]:
    """Spare a process that is started meanwhile the import of our main script, which then need not be guarded."""
    main = sys.modules["__main__"]
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
                f"if memory is short, use a smaller --batch-size"
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
    await_forkserver()
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
            await_end(process)


def _begin(
    line: Connection, environment: Mapping[str, str], cores: set[int], target: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:  # fmt: skip
    """Tie this process's life to its parent's, be where and as that is, and become what it is for."""
    left_to_parent()
    parent = multiprocessing.parent_process()
    assert parent is not None
    tie_to(os.getppid())  # the forkserver, which would tell of our end
    if tie_to_writer(parent.sentinel):
        os.environ.clear()
        os.environ.update(environment)
        os.sched_setaffinity(0, cores)
        os.dup2(2, 1)
        target(line, *arguments)


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


_PR_SET_PDEATHSIG = 1


def tie_to(parent: int, how: signal.Signals = signal.SIGKILL) -> bool:
    """Let this process end with ``parent``, which started it; say whether that is still there.

    Args:
        parent: Its number.
        how: The signal to end with; SIGKILL reaches even a process that is stopped.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, how)
    return os.getppid() == parent


def tie_to_writer(descriptor: int) -> bool:
    """Let this process end, stopped or not, when the other end of a pipe is closed; say whether that is still open.

    Nothing must be left to be read. The kernel tells a pipe's reader by a signal of its choice (fcntl(2), F_SETSIG).
    """
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC)
    return not wait([descriptor], 0)
