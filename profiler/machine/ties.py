"""Tie a process's life to the one that started it."""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def tie_to(parent: int) -> bool:
    """Let this process end with ``parent``, which started it; say whether that is still there."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # which reaches even a process that is stopped
    return os.getppid() == parent
