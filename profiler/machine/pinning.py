"""Set a process for timing and running: one core, one thread, memory kept, no denormals; and see what memory it takes.

Profiling and running under different settings makes every prediction wrong, so this is the one place that sets them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from profiler.errors import ProcessError
from profiler.machine.machine import KEEP_BYTES
from profiler.machine.memory import release_memory, set_malloc


def pin(*cores: int) -> None:
    """Pin this process to ``cores``, a thread for each, and let malloc keep what it has got from the kernel.

    With glibc's own thresholds every gradient goes back to the kernel each step and comes back page by page: 55,000
    page faults a step on AlexNet.

    Raises:
        ProcessError: A core cannot be used, or the C library has no such settings.
    """
    try:
        os.sched_setaffinity(0, cores)
    except OSError as error:
        listed = ",".join(map(str, cores))
        raise ProcessError(f"this process may not use core {listed}: {error.strerror}; see --cores") from error
    torch.set_num_threads(len(cores))
    torch.set_flush_denormal(True)
    set_malloc(KEEP_BYTES)


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Pin this process for a while; then cores, threads and denormals are as before and freed memory is given back.

    Raises:
        ProcessError: As ``pin``.
    """
    allowed, threads = os.sched_getaffinity(0), torch.get_num_threads()
    pin(core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)  # torch's default, as far as it tells
        release_memory()
