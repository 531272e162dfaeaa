"""The template: a process that imports torch and our modules, runs none of it, and is forked for every process of ours.

It is told over one socket. A message is a request and the descriptors that go with it; each gets one answer, in turn.
With one thread at the moment of the fork, and nothing run before it, a child lacks no thread and no lock is held in it:
``docs/decisions`` says what may be forked. It runs no code of a user's, not even on import.
"""

import contextlib
import errno
import gc
import importlib
import os
import pickle
import select
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import forkserver, spawn
from pathlib import Path

from profiler.machine.interrupts import left_to_parent
from profiler.machine.ties import tie_to

HEADER = struct.Struct("q")
"""The length of the request that follows."""
ANSWER = struct.Struct("qq")
"""The number of the process, 0 where none was asked for; or −1 and an error's number, or −2 and a number of threads."""
EXIT_CODE = struct.Struct("q")
REFUSED, THREADED = -1, -2
MOST = 64
"""Descriptors of a fork: where it reads what it is to do, where its end is told, where it complains, and its own."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the template is asked for.

    Attributes:
        modules: To be imported, if they are not yet.
        environment: Of the process that is to be forked; None where none is.
    """

    modules: tuple[str, ...]
    environment: dict[bytes, bytes] | None = None
    cores: frozenset[int] = frozenset()


def main(number: int, parent: int) -> None:
    """Serve the socket of that number until the parent closes it and no child is left."""
    left_to_parent()
    if tie_to(parent):
        with socket.socket(fileno=number) as line:
            _Template(line).serve()


class _Template:
    def __init__(self, line: socket.socket) -> None:
        self._line: socket.socket | None = line
        self._children: dict[int, tuple[int, int]] = {}
        """By the descriptor of a child: its number, and where its end is told."""

    def serve(self) -> None:
        while self._line or self._children:
            poll = select.poll()
            for descriptor in (*self._children, *([self._line.fileno()] if self._line else [])):
                poll.register(descriptor, select.POLLIN)
            for descriptor, _ in poll.poll():
                if descriptor in self._children:
                    self._reap(descriptor)
                elif self._line and not self._answer(self._line):
                    self._line = None

    def _reap(self, descriptor: int) -> None:
        number, told = self._children.pop(descriptor)
        _, status = os.waitpid(number, 0)
        with contextlib.suppress(OSError):  # the parent may have gone
            os.write(told, EXIT_CODE.pack(os.waitstatus_to_exitcode(status)))
        os.close(told)
        os.close(descriptor)

    def _answer(self, line: socket.socket) -> bool:
        """Do what is asked for; return whether anything was, and somebody is there to hear of it."""
        try:
            return self._done(line)
        except (BrokenPipeError, ConnectionResetError):  # the parent closed it with answers that it had not read
            return False

    def _done(self, line: socket.socket) -> bool:
        header, descriptors, flags, _ = socket.recv_fds(line, HEADER.size, MOST)
        if not header:
            return False
        length = HEADER.unpack(header)[0]
        request: Request = pickle.loads(line.recv(length, socket.MSG_WAITALL))
        for module in request.modules:
            with contextlib.suppress(Exception):  # a child that needs it will say so
                importlib.import_module(module)
        if request.environment is None:
            gc.collect()
            gc.freeze()  # no collection in a child touches, and so copies, what all share
            line.sendall(ANSWER.pack(0, 0))
            return True
        try:
            truncated = flags & socket.MSG_CTRUNC
            answer, own = (ANSWER.pack(REFUSED, errno.EMFILE), None) if truncated else self._fork(request, descriptors)
        except OSError as error:
            answer, own = ANSWER.pack(REFUSED, error.errno or 0), None
        told = None if own is None else descriptors[1]
        for descriptor in descriptors:
            if descriptor != told:
                os.close(descriptor)
        socket.send_fds(line, [answer], [] if own is None else [own])
        return True

    def _fork(self, request: Request, descriptors: Sequence[int]) -> tuple[bytes, int | None]:
        """Fork; return the answer, and the descriptor of the process."""
        assert self._line is not None
        threads = len(list(Path("/proc/self/task").iterdir()))
        if threads > 1:
            return ANSWER.pack(THREADED, threads), None
        template = os.getpid()
        number = os.fork()
        if not number:
            strange = [self._line.fileno(), descriptors[1]]
            strange += [each for own, (_, told) in self._children.items() for each in (own, told)]
            _become(request, descriptors, strange, template)
        try:
            own = os.pidfd_open(number)
        except OSError:
            os.kill(number, signal.SIGKILL)
            os.waitpid(number, 0)
            raise
        self._children[own] = number, descriptors[1]
        return ANSWER.pack(number, 0), own


def _become(request: Request, descriptors: Sequence[int], strange: Sequence[int], template: int) -> None:
    """Be the process that is asked for, as multiprocessing starts one, and end with it."""
    code = 1
    try:
        if tie_to(template):
            for descriptor in strange:
                os.close(descriptor)
            work, _, complaints, *given = descriptors
            os.dup2(complaints, 2)
            os.close(complaints)
            assert request.environment is not None
            for name in os.environb.keys() - request.environment.keys():
                del os.environb[name]
            os.environb.update(request.environment)
            os.sched_setaffinity(0, request.cores)
            forkserver._forkserver._inherited_fds = list(given)  # type: ignore[attr-defined] # noqa: SLF001 - as its own children find theirs
            code = spawn._main(work, os.dup(work))  # noqa: SLF001 - likewise
    except Exception:  # noqa: BLE001 - as an interpreter ends
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    finally:
        os._exit(code)
