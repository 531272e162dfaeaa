"""The first code of a stage's process: tie its life to its parent's before anything slow is imported."""

import ctypes
import faulthandler
import os
import resource
import signal
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle

_PR_SET_PDEATHSIG = 1


def tie_to(parent: int) -> bool:
    """Let this process end with ``parent``, which started it; say whether that is still there."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # which reaches even a process that is stopped
    return os.getppid() == parent


def main(control: Connection, core: int, parent: int) -> None:
    """Become the stage process that ``control`` is the line to; ``parent`` is the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it ends this process
    if not tie_to(parent):
        return
    os.dup2(2, 1)  # what user code prints is no result
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # stacks do instead
    stacks, record = recv_handle(control), recv_handle(control)
    faulthandler.enable(stacks)
    faulthandler.register(signal.SIGUSR1, stacks)
    from runtime.channels import SharedMemory
    from runtime.worker.status import StageStatus
    from runtime.worker.worker import serve

    serve(control, core, StageStatus(SharedMemory(record), stacks))
