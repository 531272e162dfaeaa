"""Set a process for timing and running: one core, one thread, memory kept; and see what memory it takes.

Profiling and running under different settings makes every prediction wrong, so this is the one place that sets them.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.fx.experimental.symbolic_shapes  # a backward from given gradients would, with 480 modules and 35 MiB
from torch import nn

from profiler.errors import ProcessError
from profiler.machine.machine import KEEP_BYTES
from profiler.machine.memory import release_memory, set_malloc


def pin(*cores: int) -> None:
    """Pin this process to ``cores``, a thread for each, and let malloc keep what it has got from the kernel.

    With glibc's own thresholds every gradient goes back to the kernel each step and comes back page by page: 55,000
    page faults a step on AlexNet.
    """
    try:
        os.sched_setaffinity(0, cores)
    except OSError as error:
        listed = ",".join(map(str, cores))
        raise ProcessError(f"this process may not use core {listed}: {error.strerror}; see --cores") from error
    torch.set_num_threads(len(cores))
    set_malloc(KEEP_BYTES)


_IN_CHARGE = threading.RLock()
PATIENCE_S = 10.0
"""How long a thread waits for another that measures or captures: longer than most captures take."""


@contextmanager
def only_thread() -> Iterator[None]:
    """Wait for another thread that measures or captures: each changes settings that all threads share."""
    if not _IN_CHARGE.acquire(timeout=PATIENCE_S):
        raise ProcessError(
            "another thread of this process measures or captures a model, which changes settings of all threads; do "
            "one after the other, or each in a process of its own"
        )
    try:
        yield
    finally:
        _IN_CHARGE.release()


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Pin this process for a while; then cores and threads are as before and freed memory is given back.

    malloc's thresholds go to where glibc raises its own. It does not tell them, so any that were set otherwise are
    lost; and it no longer raises them by itself.
    """
    with only_thread():
        allowed, threads = os.sched_getaffinity(0), torch.get_num_threads()
        kept_bytes = set_malloc(KEEP_BYTES)
        try:
            pin(core)
            yield
        finally:
            os.sched_setaffinity(0, allowed)
            torch.set_num_threads(threads)
            set_malloc(kept_bytes)
            release_memory()


_BATCH, _CLASSES = 2, 4


def use_torch_once() -> None:
    """Run a tiny network forwards and backwards: kernels, autograd, and the modules that a backward imports.

    The pages of kernels are some 20 MiB.
    """
    generator = torch.random.get_rng_state()
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Dropout(), nn.Linear(32, _CLASSES),
    ).to(memory_format=torch.channels_last)  # fmt: skip
    images = torch.ones(_BATCH, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    outputs = network(images)
    loss = nn.functional.cross_entropy(outputs, torch.arange(_BATCH))
    torch.autograd.backward([loss], [torch.ones_like(loss)])
    torch.random.set_rng_state(generator)
