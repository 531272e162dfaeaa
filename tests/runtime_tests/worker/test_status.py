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

from runtime.channels import SharedMemory
from runtime.worker.status import Phase, StageStatus

WRITER = """
import sys
from itertools import count
from runtime.channels import SharedMemory
from runtime.worker.status import Phase, StageStatus
stacks, record = map(int, sys.argv[1:])
status = StageStatus(SharedMemory(record), stacks)
for number in count(1):
    status.note(Phase.WORKING, str(number), done=number, total=number, busy_s=number, loss=number)
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
        assert found.total == found.busy_s == found.loss == found.done
        seen.add(found.done)
        os.kill(pid, signal.SIGCONT)
        time.sleep(drawn.uniform(0, 0.001))
    assert len(seen) > 1


@pytest.mark.parametrize("order", ["front to back", "back to front", "any"])
def test_whichever_bytes_of_a_record_are_written_first_the_one_before_it_can_be_read(order: str) -> None:
    """Stores may be seen in another order than they were made, and a writer may be killed between any two."""
    status = StageStatus.create()
    memory = status._record.memory
    for number in (1, 2):
        status.note(Phase.WORKING, f"{number}" * 70, done=number, total=number, busy_s=number, loss=number)
    before = bytes(memory)
    status.note(Phase.WAITING, "3" * 70, done=3, total=3, busy_s=3, loss=3)
    after = bytes(memory)
    changed = [place for place in range(len(after)) if after[place] != before[place]]
    if order == "back to front":
        changed.reverse()
    elif order == "any":
        random.Random(3).shuffle(changed)  # noqa: S311 - any order will do
    for count in range(len(changed) + 1):
        memory[:] = before
        for place in changed[:count]:
            memory[place] = after[place]
        reader = StageStatus(SharedMemory(os.dup(status.descriptors[1])), os.dup(status.descriptors[0]))
        seen = reader.read()
        number = 3 if count == len(changed) else 2
        assert seen.doing == f"{number}" * 70
        assert (seen.done, seen.total, seen.busy_s, seen.loss) == (number,) * 4
        assert seen.phase == (Phase.WAITING if number == 3 else Phase.WORKING)
        reader.close()
    status.close()
