"""The first code of a stage's process: be ready to say where it stands before anything slow is imported."""

import faulthandler
import resource
import signal
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle

import runtime.channels


def main(control: Connection, core: int) -> None:
    """Become the stage process that ``control`` is the line to, on ``core``."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # stacks do instead
    stacks, record = recv_handle(control), recv_handle(control)
    faulthandler.enable(stacks)
    faulthandler.register(signal.SIGUSR1, stacks)
    from runtime.worker.stage_process import serve
    from runtime.worker.status import StageStatus

    serve(control, core, StageStatus(runtime.channels.SharedMemory(record), stacks))
