"""Have processes forked from a template that has imported torch: milliseconds and a few MiB each, not seconds and 290.

Each thread that starts processes has a template of its own, for a process ends with the thread that started it. It is
started afresh where it has ended, or where a variable has changed since that libraries read as they are loaded.
"""

import atexit
import contextlib
import errno
import io
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import popen_forkserver, reduction, spawn, util
from multiprocessing.connection import wait
from multiprocessing.context import set_spawning_popen
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import ClassVar

from profiler.errors import ProcessError
from profiler.machine.interrupts import uninterrupted
from profiler.machine.template_process import ANSWER, EXIT_CODE, HEADER, REFUSED, THREADED, Request

ORPHANED = 87
"""What a process counts as having exited with whose template ended, which ends it."""
ORPHANS = "the process that others are forked from ended, by hand or by the kernel because memory ran out"
PATIENCE_S = 90.0
"""How long a template may take to answer, the import of torch included."""
_REAPED_WITHIN_S = 1.0
_EXIT_CODE_FIELD = 49
"""Of ``/proc/N/stat``, counted behind the command's name."""
_READ_AT_LOAD = (
    "ATEN", "BLIS_", "CUDA_", "DNNL_", "GLIBC_", "GOMP_", "KMP_", "LD_", "MALLOC_", "MKL_", "OMP_", "ONEDNN_",
    "OPENBLAS_", "PYTHON", "PYTORCH_", "TORCH",
)  # fmt: skip
"""How the names of variables begin that the interpreter or a library reads once, as it is loaded."""
_PATH = "STAGEPLAN_TEMPLATE_PATH"
"""The variable in which a template, and nothing that is forked from it, finds its ``sys.path``."""
_IMPORTED = ("profiler", "optimizer", "runtime", "torch", "torchvision")
"""The packages that a template imports."""
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
"""numpy's OpenBLAS starts its threads when it is loaded, and what has threads cannot be forked."""


class CannotFork(Exception):  # noqa: N818 - no error of the user's
    """The template cannot be forked; says why."""


class Template:
    """A process that is forked from; it ends with the thread that starts it."""

    def __init__(self) -> None:
        """Start it."""
        try:
            os.close(os.pidfd_open(os.getpid()))
        except OSError as error:
            raise CannotFork(f"the kernel gives no descriptors of processes ({error.strerror})") from error
        self.key = _key()
        self._asked: set[str] = set()
        self._owed, self._given_up = 0, False
        self._line, theirs = socket.socketpair()
        with contextlib.ExitStack() as until_started, theirs:
            until_started.callback(self._line.close)
            code = (  # which imports nothing before the path is set
                f"import os, sys; sys.path[:] = eval(os.environ['{_PATH}']); "
                f"from profiler.machine.template_process import main; main({theirs.fileno()}, {os.getpid()})"
            )
            flags: list[str] = util._args_from_interpreter_flags()  # type: ignore[attr-defined] # noqa: SLF001 - as spawn
            self._process = subprocess.Popen(
                [sys.executable, *flags, "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                env=os.environ | _ONE_THREAD | {_PATH: repr(_import_path())}, pass_fds=[theirs.fileno()],
            )  # fmt: skip
            until_started.pop_all()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """Whether it is there, and is what would be started now."""
        return self.key == _key() and not self._given_up and not self.ended

    def import_modules(self, modules: Sequence[str]) -> None:
        """Let it import those of the modules that are not the user's, without waiting for that."""
        wanted = [module for module in modules if module.partition(".")[0] in _IMPORTED and module not in self._asked]
        if wanted:
            self._ask(Request(tuple(wanted)), [])
            self._asked.update(wanted)

    def settle(self) -> None:
        """Wait until it has done what it was asked for."""
        while self._owed:
            self._answer()

    def fork(self, descriptors: Sequence[int]) -> tuple[int, int]:
        """Fork it once; return the number of the process, and a descriptor of it.

        Args:
            descriptors: Where that reads what it is to do, where its end is told, where it complains, and its own.
        """
        self.settle()
        self._ask(Request((), dict(os.environb), frozenset(os.sched_getaffinity(0))), descriptors)
        number, detail, own = self._answer()
        if number == REFUSED:
            raise OSError(detail, os.strerror(detail))
        if number == THREADED:
            raise CannotFork(f"importing torch started {detail - 1} more threads here")
        if not own:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return number, own[0]

    def close(self) -> None:
        """End it, and with it all that were forked from it."""
        self._process.kill()
        self._process.wait()
        self._line.close()

    def forsake(self) -> None:
        """Fork no more of it: it ends with the last of its children."""
        self._line.close()

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return self._process.poll() is not None

    def _ask(self, request: Request, descriptors: Sequence[int]) -> None:
        data = pickle.dumps(request)
        with self._talk():
            socket.send_fds(self._line, [HEADER.pack(len(data))], descriptors)
            self._line.sendall(data)
            self._owed += 1

    def _answer(self) -> tuple[int, int, list[int]]:
        with self._talk():
            if not wait([self._line], PATIENCE_S):
                raise ProcessError(
                    f"the process that others are forked from was not done after {PATIENCE_S:.0f} s; is it stopped? "
                    "try again"
                )
            with uninterrupted():  # or an answer would be lost
                data, own, _, _ = socket.recv_fds(self._line, ANSWER.size, 1)
                self._owed -= 1
            if not data:
                raise BrokenPipeError
        number, detail = ANSWER.unpack(data)
        return number, detail, own

    @contextlib.contextmanager
    def _talk(self) -> Iterator[None]:
        """Fork no more of it where it cannot be understood any more; what was forked before goes on."""
        try:
            yield
        except (BrokenPipeError, ConnectionResetError):
            self.close()
            code = self._process.returncode
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise ProcessError(
                f"the process that others are forked from ended with {how}, by hand or because memory ran out; "
                "try again"
            ) from None
        except Exception:  # Ctrl-C leaves it as it is
            self._given_up = True
            raise


def _import_path() -> list[str]:
    """Return where modules are looked for, the current folder by its name."""
    try:
        here = str(Path.cwd())
    except FileNotFoundError:  # it was deleted
        here = ""
    return [path for entry in sys.path if isinstance(entry, str) and (path := entry or here)]


def _key() -> tuple[tuple[str, str], ...]:
    """Return the variables that are read at the start, by which a template fits or does not."""
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith(_READ_AT_LOAD)))


_templates: dict[tuple[int, int], Template] = {}
"""By process, which may be a fork itself, and thread."""
_forsaken: list[Template] = []
_LOCK = threading.Lock()


def current_template() -> Template:
    """Return the template of this thread, which is started if there is none that can be used."""
    here = os.getpid(), threading.get_native_id()
    with _LOCK:
        kept = _templates.get(here)
        if kept and kept.usable:
            return kept
        if kept:
            kept.forsake()
            _forsaken.append(_templates.pop(here))
        for there, other in list(_templates.items()):
            if there[0] != here[0]:  # our parent's, of which we are a fork
                _templates.pop(there).forsake()
            elif other.ended:  # with its thread
                _templates.pop(there).close()
        _forsaken[:] = [other for other in _forsaken if not other.ended]
        _templates[here] = Template()
        return _templates[here]


os.register_at_fork(after_in_child=lambda: globals().update(_LOCK=threading.Lock()))


@atexit.register
def close_templates() -> None:
    """End every template that this process has started."""
    own = [kept for (process, _), kept in _templates.items() if process == os.getpid()]
    for kept in (*own, *_forsaken):
        kept.close()
    _templates.clear()
    _forsaken.clear()


class ForkedProcess(BaseProcess):
    """A process that is forked from the template, for the rest like any of multiprocessing's."""

    _start_method: ClassVar[None] = None

    @staticmethod
    def _Popen(process: BaseProcess) -> "_Forked":  # noqa: N802 - multiprocessing's name
        return _Forked(process)


class _Forked(popen_forkserver.Popen):
    """What multiprocessing asks of a process that was started: its end, and to end it."""

    method = "template"

    def _launch(self, process: BaseProcess) -> None:
        source = current_template()
        work = io.BytesIO()
        set_spawning_popen(self)
        try:
            reduction.dump(spawn.get_preparation_data(process.name), work)
            reduction.dump(process, work)
        finally:
            set_spawning_popen(None)
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            self.sentinel, told = _pipe(ours, theirs)
            parent_lives, kept_open = _pipe(theirs, ours)
            self.pid, self._own = source.fork([parent_lives, told, 2, *self._fds])  # type: ignore[attr-defined]
            ours.callback(os.close, self._own)
            # A process that has died already is found by its end.
            with contextlib.suppress(BrokenPipeError), open(os.dup(kept_open), "wb") as stream:  # noqa: PTH123
                stream.write(work.getbuffer())
            ours.pop_all()
        # As long as the last is open, the process sees that its parent has not gone.
        descriptors = (self.sentinel, self._own, kept_open)
        self.finalizer = util.Finalize(self, util.close_fds, descriptors)  # type: ignore[attr-defined]

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """Return its exit code if it has ended, or once it has."""
        if self.returncode is None:
            if not wait([self.sentinel, self._own], 0 if flag == os.WNOHANG else None):
                return None
            told = wait([self.sentinel], _REAPED_WITHIN_S)
            code = None if told else _exit_code_of_zombie(self.pid)  # for the template is busy, or stopped
            if code is None:
                data = os.read(self.sentinel, EXIT_CODE.size)
                code = EXIT_CODE.unpack(data)[0] if data else ORPHANED
            self.returncode = code
        return self.returncode

    def _send_signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._own, number)


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    """Return a pipe's ends, which the two contexts close."""
    read, write = os.pipe()
    reader.callback(os.close, read)
    writer.callback(os.close, write)
    return read, write


def _exit_code_of_zombie(number: int) -> int | None:
    """Return what a process exited with whose end nobody has asked for yet; None where somebody has."""
    try:
        status = Path(f"/proc/{number}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return os.waitstatus_to_exitcode(int(status.rpartition(")")[2].split()[_EXIT_CODE_FIELD]))
