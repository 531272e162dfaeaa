"""Set a process for timing and running (one core, one thread, memory kept, no denormals) and describe the machine.

Profiling and running under different settings makes every prediction wrong, so this is the one place that sets them.
"""

import ctypes
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch
import torchvision

from profiler.errors import ProcessError
from profiler.types import Machine

KEEP_BYTES = 1 << 30
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def settle(core: int) -> None:
    """Pin this process to ``core`` with one thread and let malloc keep what it has got from the kernel.

    With glibc's own thresholds every gradient goes back to the kernel each step and comes back page by page: 55,000
    page faults a step on AlexNet.

    Raises:
        ProcessError: The core cannot be used, or the C library has no such settings.
    """
    try:
        os.sched_setaffinity(0, {core})
    except OSError as error:
        raise ProcessError(f"this process may not use core {core}: {error.strerror}; see --cores") from error
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    _keep_memory()


@contextmanager
def settled(core: int) -> Iterator[None]:
    """Settle this process for a while; afterwards its cores and threads are as before and freed memory is given back.

    Raises:
        ProcessError: As ``settle``.
    """
    allowed, threads = os.sched_getaffinity(0), torch.get_num_threads()
    settle(core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
        torch.set_num_threads(threads)
        release_memory()


def usable_cores(wanted: Sequence[int] | None) -> tuple[int, ...]:
    """Return the cores to use: ``wanted``, or all that this process may use, one thread of each physical core first.

    Raises:
        ProcessError: A wanted core may not be used.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if wanted is None:
        first = {physical_core(core): core for core in reversed(allowed)}
        return tuple(sorted(allowed, key=lambda core: (first[physical_core(core)] != core, core)))
    refused = [core for core in wanted if core not in allowed]
    if refused:
        listed = ",".join(map(str, allowed))
        raise ProcessError(f"this process may not use core {refused[0]}; it may use --cores {listed}")
    return tuple(wanted)


def release_memory() -> None:
    """Give freed memory back to the kernel."""
    ctypes.CDLL(None).malloc_trim(0)


def physical_core(core: int) -> tuple[str, str]:
    """Return the package and core that a processor number belongs to; itself where the kernel does not say."""
    folder = Path(f"/sys/devices/system/cpu/cpu{core}/topology")
    try:
        package, number = ((folder / name).read_text().strip() for name in ("physical_package_id", "core_id"))
    except OSError:
        return "", str(core)
    return package, number


class PeakMemory:
    """How far this process's resident size rises above what it was before a stage came."""

    def __init__(self) -> None:
        """Note the present size."""
        self._start_bytes = psutil.Process().memory_info().rss
        self._known = False

    def forget_peak(self) -> None:
        """Let the kernel forget the peak so far."""
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self._known = True
        except OSError:
            self._known = False

    def growth_bytes(self) -> int | None:
        """Return the peak since the last one was forgotten, above the first size; None where the kernel keeps none."""
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if self._known and line.startswith("VmHWM:"):
                return max(0, int(line.split()[1]) * 1024 - self._start_bytes)
        return None


def machine() -> Machine:
    """Describe this machine and the settings."""
    return Machine(
        cpu=_cpu_model(),
        physical_cores=psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
        python=platform.python_version(),
        torch=str(torch.__version__),
        torchvision=str(torchvision.__version__),
        settings=f"one core, one thread, malloc keeps {KEEP_BYTES >> 20} MiB, denormals flushed",
    )


def _keep_memory() -> None:
    libc = ctypes.CDLL(None)
    try:
        accepted = libc.mallopt(_M_MMAP_THRESHOLD, KEEP_BYTES) and libc.mallopt(_M_TRIM_THRESHOLD, KEEP_BYTES)
    except AttributeError:
        accepted = 0
    if not accepted:
        raise ProcessError(
            f"the C library refuses malloc thresholds of {KEEP_BYTES >> 20} MiB, which timing and running depend on; "
            "use Linux with glibc 2.35 or newer"
        )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
