"""See how much memory a process takes, and set what malloc keeps of it."""

import ctypes
from pathlib import Path

import psutil

from profiler.errors import ProcessError

SMALL_BYTES = 1 << 16
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_kept_bytes = 32 << 20
"""What malloc keeps at present: to where glibc raises its own thresholds, by and by, in a process that frees tensors.

Once they are set, glibc no longer raises them by itself, and nothing tells where they are.
"""


def release_memory() -> None:
    """Give freed memory back to the kernel."""
    ctypes.CDLL(None).malloc_trim(0)


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
    """Let malloc give all but small pieces back to the kernel when they are freed; for a process that is young."""
    set_malloc(SMALL_BYTES)


def set_malloc(threshold_bytes: int) -> int:
    """Let malloc keep freed memory up to a threshold; return the one before."""
    global _kept_bytes
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
    before, _kept_bytes = _kept_bytes, threshold_bytes
    return before
