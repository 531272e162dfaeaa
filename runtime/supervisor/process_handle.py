"""One stage's process as its parent holds it: the process, the line to it, its core, its status."""

import contextlib
import math
import socket
import struct
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import send_handle

from profiler.machine import start
from runtime.errors import RunError
from runtime.worker import StageStatus, serve


@dataclass(frozen=True, slots=True)
class StageProcess:
    """A stage's process."""

    process: BaseProcess
    control: Connection
    core: int
    status: StageStatus

    @property
    def pid(self) -> int:
        """The process's number."""
        return self.process.pid or 0

    def hand_over(self) -> None:
        """Give the process its status; one that has died already is found by its end."""
        with contextlib.suppress(OSError):
            for descriptor in self.status.descriptors:
                send_handle(self.control, descriptor, self.pid)


def started(stage: int, core: int, patience_s: float) -> StageProcess:
    """Start a stage's process, which is given up when a message to or from it is stuck for ``patience_s``."""
    try:
        status = StageStatus.create()
        try:
            process, ours = start(serve, core, name=f"stageplan-stage-{stage}")
        except BaseException:
            status.close()
            raise
    except OSError as error:
        raise RunError(
            f"the process of stage {stage} cannot be started: {error.strerror}; look at the limits of ulimit -a"
        ) from error
    line = socket.socket(fileno=ours.fileno())
    for direction in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
        line.setsockopt(socket.SOL_SOCKET, direction, struct.pack("@ll", math.ceil(patience_s), 0))
    line.detach()
    return StageProcess(process, ours, core, status)
