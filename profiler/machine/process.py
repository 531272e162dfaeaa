"""Set a process for timing and running: one core, one thread, memory kept, no denormals; and see what memory it takes.

Profiling and running under different settings makes every prediction wrong, so this is the one place that sets them.
"""

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

from profiler.errors import ProcessError
from profiler.machine.machine import KEEP_BYTES, affinity_variables

SMALL_BYTES = 1 << 16
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def settle(*cores: int) -> None:
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
    _set_malloc(KEEP_BYTES)


@contextmanager
def settled(core: int) -> Iterator[None]:
    """Settle this process for a while; then cores, threads and denormals are as before and freed memory is given back.

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
        torch.set_flush_denormal(False)  # torch's default, as far as it tells
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
        bound = affinity_variables()
        cause = f"; the environment binds threads to cores{bound}" if bound else ""
        raise ProcessError(f"this process may not use core {refused[0]}; it may use --cores {listed}{cause}")
    return tuple(wanted)


def neighbouring_cores(usable: Sequence[int], neighbours: int) -> tuple[int, ...]:
    """Return the core to measure on and those of its neighbours.

    Raises:
        ProcessError: There are not so many cores.
    """
    if neighbours >= len(usable):
        raise ProcessError(
            f"{neighbours} neighbours and the core that is measured need {neighbours + 1} cores and this process may "
            f"use {len(usable)}; use --neighbours {len(usable) - 1} or fewer"
        )
    return tuple(usable[: neighbours + 1])


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
    """The resident size of this process and its peak, as the kernel keeps them."""

    def __init__(self) -> None:
        """Note the present size."""
        self._start_bytes = self.resident_bytes()
        self._known = False

    def forget_peak(self) -> bool:
        """Let the kernel forget the peak so far, and say whether it can."""
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self._known = self.peak_bytes() > 0
        except OSError:
            self._known = False
        return self._known

    def resident_bytes(self) -> int:
        """Return the present resident size."""
        return psutil.Process().memory_info().rss

    def peak_bytes(self) -> int:
        """Return the largest resident size since the last one was forgotten; 0 where the kernel keeps none."""
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0

    def growth_bytes(self) -> int | None:
        """Return the peak since the last one was forgotten, above the first size; None where the kernel keeps none."""
        return max(0, self.peak_bytes() - self._start_bytes) if self._known else None


def return_memory_at_once() -> None:
    """Let malloc give all but small pieces back to the kernel as soon as they are freed; for a process that is young.

    Raises:
        ProcessError: The C library has no such settings.
    """
    _set_malloc(SMALL_BYTES)


def _set_malloc(threshold_bytes: int) -> None:
    libc = ctypes.CDLL(None)
    try:
        accepted = libc.mallopt(_M_MMAP_THRESHOLD, threshold_bytes) and libc.mallopt(_M_TRIM_THRESHOLD, threshold_bytes)
    except AttributeError:
        accepted = 0
    if not accepted:
        raise ProcessError(
            f"the C library refuses malloc thresholds of {threshold_bytes >> 10} KiB, which timing and running depend "
            "on; use Linux with glibc 2.35 or newer"
        )
