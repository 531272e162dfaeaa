"""The status of a stage, in memory that its parent reads without asking: it outlives whatever befalls the stage.

The stage writes a short record before and after each wait and each action; the parent reads it for its live view, to
find a stage that no longer comes forward, and to say what a dead one was doing. A stage may be halfway through a record
just then: so it has a checksum, and where that does not fit, the one that was read before stands.
Python's stacks go to a second piece: faulthandler writes them when a process crashes, or when the parent asks with
SIGUSR1.
"""

import math
import os
import struct
import time
import zlib
from dataclasses import dataclass
from enum import IntEnum

from runtime.channels import SharedMemory

_RECORD = struct.Struct("<ddBi80s")
_CHECKSUM = struct.Struct("<I")


class Phase(IntEnum):
    """Idle, working or waiting."""

    IDLE = 0
    WORKING = 1
    WAITING = 2


@dataclass(frozen=True, slots=True)
class Progress:
    """The status that a stage last wrote.

    Attributes:
        since_s: When it began to do so, on the machine's monotonic clock.
        done: How many actions are done.
        doing: What it is doing, in words.
        loss: The last minibatch's, in the last stage; NaN where there is none yet.
    """

    since_s: float
    phase: Phase
    done: int
    doing: str
    loss: float = math.nan


class StageStatus:
    """One stage's record and stacks."""

    def __init__(self, record: SharedMemory, stacks: int) -> None:
        """Take over the memory of the record, and the descriptor of the stacks."""
        self._record, self._stacks = record, stacks
        self._last = _RECORD.pack(0.0, math.nan, Phase.WORKING, 0, b"start")

    @classmethod
    def create(cls) -> "StageStatus":
        """Return a new status, for a process that is about to start."""
        record = SharedMemory.create(_RECORD.size + _CHECKSUM.size)
        try:
            status = cls(record, os.memfd_create("stageplan", os.MFD_CLOEXEC))
        except OSError:
            record.close()
            raise
        status.note(Phase.WORKING, "start")
        return status

    @property
    def descriptors(self) -> tuple[int, int]:
        """The descriptors of stacks and record, for the stage's process."""
        return self._stacks, self._record.descriptor

    def note(self, phase: Phase, doing: str, *, done: int = 0, loss: float = math.nan) -> None:
        """Write down what the stage is doing from now on."""
        record = _RECORD.pack(time.perf_counter(), loss, phase, done, doing.encode()[:80])
        self._record.memory[:] = record + _checksum(record)

    def read(self) -> Progress:
        """Return what was last written."""
        memory = bytes(self._record.memory)
        if memory[_RECORD.size :] == _checksum(memory[: _RECORD.size]):
            self._last = memory[: _RECORD.size]
        since_s, loss, phase, done, words = _RECORD.unpack(self._last)
        return Progress(since_s, Phase(phase), done, words.rstrip(b"\0").decode(errors="replace"), loss)

    def stacks(self, patience_s: float = 0.0) -> str:
        """Return the stacks that have been written, after ``patience_s``."""
        time.sleep(patience_s)
        return os.pread(self._stacks, os.fstat(self._stacks).st_size, 0).decode(errors="replace")

    def close(self) -> None:
        """Let go of the memory."""
        self._record.close()
        os.close(self._stacks)


def _checksum(record: bytes) -> bytes:
    return _CHECKSUM.pack(zlib.crc32(record))
