"""A process that was set for timing is as before when that is over, and only one thread sets it at a time."""

import ctypes
import os
import threading
from multiprocessing.connection import Connection

import pytest
import torch
from torch import nn

from profiler.capture import untouched
from profiler.errors import ProcessError
from profiler.machine import helper, pinned

BLOCK_BYTES = 96 << 20


class Counts(ctypes.Structure):
    """What glibc's mallinfo2 returns."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"
    )]  # fmt: skip


def is_mapped(size: int) -> bool:
    """Whether malloc asks the kernel for a block of that size, and so gives it back when it is freed."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes, libc.mallinfo2.restype = [ctypes.c_void_p], Counts
    before = libc.mallinfo2().hblks
    block = libc.malloc(size)
    mapped = libc.mallinfo2().hblks > before
    libc.free(block)
    return bool(mapped)


def mapped_in_turn(_connection: Connection, core: int) -> list[bool]:
    """Return whether a block is mapped before, while, and after the process is pinned, the last two twice."""
    seen = [is_mapped(BLOCK_BYTES)]
    for _ in range(2):
        with pinned(core):
            with pinned(core):
                pass
            seen.append(is_mapped(BLOCK_BYTES))
        seen.append(is_mapped(BLOCK_BYTES))
    return seen


def test_malloc_gives_large_blocks_back_once_the_process_is_no_longer_pinned(usable: tuple[int, ...]) -> None:
    with helper(mapped_in_turn, usable[0]) as process:  # whose heap is young, and has no such block free
        assert process.receive() == [True, False, True, False, True]


def test_cores_and_threads_are_as_before(usable: tuple[int, ...]) -> None:
    before = os.sched_getaffinity(0), torch.get_num_threads()
    with pinned(usable[0]):
        assert (os.sched_getaffinity(0), torch.get_num_threads()) == ({usable[0]}, 1)
    assert (os.sched_getaffinity(0), torch.get_num_threads()) == before


def test_a_second_thread_that_measures_or_captures_waits_and_is_refused_if_that_takes_long(
    usable: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("profiler.machine.pinning.PATIENCE_S", 0.1)
    said: list[str] = []

    def second() -> None:
        for context in (pinned(usable[0]), untouched(nn.Identity())):
            try:
                with context:
                    said.append("")
            except ProcessError as error:
                said.append(str(error))

    def in_another_thread() -> list[str]:
        said.clear()
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        return said

    for context in (pinned(usable[0]), untouched(nn.Identity())):
        with context:
            refused = in_another_thread()
            assert len(refused) == 2
            assert all(one.startswith("another thread of this process measures or captures a model") for one in refused)
    assert in_another_thread() == ["", ""]
    monkeypatch.setattr("profiler.machine.pinning.PATIENCE_S", 60.0)
    waiting = threading.Thread(target=second)
    with pinned(usable[0]):
        said.clear()
        waiting.start()
        waiting.join(0.2)
        assert not said
    waiting.join()
    assert said == ["", ""]
