"""Tie a process's life to the one that started it."""

import ctypes
import fcntl
import os
import signal
from multiprocessing.connection import wait

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
