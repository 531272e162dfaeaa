"""The status of a stage is whole whenever it is read, also where the stage is stopped in the middle of writing it."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from places import CHECKOUT

from runtime.worker.status import Phase, StageStatus

WRITER = """
import sys
from itertools import count
from runtime.channels import SharedMemory
from runtime.worker.status import Phase, StageStatus
stacks, record = map(int, sys.argv[1:])
status = StageStatus(SharedMemory(record), stacks)
for number in count(1):
    status.note(Phase.WORKING, str(number), done=number, loss=number)
"""


@pytest.fixture
def writer() -> Iterator[tuple[int, StageStatus]]:
    """A process that does nothing but write, each record in agreement with itself."""
    status = StageStatus.create()
    words = [sys.executable, "-c", WRITER, *map(str, status.descriptors)]
    with subprocess.Popen(words, cwd=CHECKOUT, pass_fds=status.descriptors) as process:
        try:
            while status.read().done < 1:
                assert process.poll() is None, "the writer has ended"
                time.sleep(0.001)
            yield process.pid, status
        finally:
            process.kill()
    status.close()


def test_a_stage_that_is_stopped_while_it_writes_has_a_whole_status(writer: tuple[int, StageStatus]) -> None:
    pid, status = writer
    drawn = random.Random(3)  # noqa: S311 - any moment will do
    seen = set()
    for _ in range(500):
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
        found = status.read()
        assert found.doing == str(found.done)
        assert found.phase == Phase.WORKING
        assert found.loss == found.done
        seen.add(found.done)
        os.kill(pid, signal.SIGCONT)
        time.sleep(drawn.uniform(0, 0.001))
    assert len(seen) > 1
