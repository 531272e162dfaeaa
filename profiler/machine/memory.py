"""See how much memory a process takes, and set what malloc keeps of it."""

import ctypes
import resource
from collections.abc import Iterator, Sequence
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


_CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60
_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Limit and usage of a control group, and what of the usage can be dropped: version 2, and version 1."""


def available_bytes(root: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> tuple[int, str]:
    """Return how much memory is free for this process, and whose limit that is.

    Args:
        root: Where control groups are mounted.
        own: The file that names this process's groups.
    """
    limits = [(psutil.virtual_memory().available, "the machine")]
    limits += [(free, "its control group (cgroup)") for free in _free_in_groups(root, own)]
    return min(limits)


def free_to_this_process() -> tuple[int, str]:
    """Return how much more memory this process may take, and whose limit that is; another one has such a limit, too."""
    free, whose = available_bytes()
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return free, whose
    return min((free, whose), (max(0, limit - psutil.Process().memory_info().vms), "this process (ulimit -v)"))


def _free_in_groups(root: Path, own: Path) -> Iterator[int]:
    """Yield what is free in every group that this process is in, version 1 or 2, up to the root."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "memory" if controllers else root
        folder = top / path.lstrip("/")
        for group in (folder, *folder.parents):
            yield from _free(group)
            if group == top:
                break


def _free(folder: Path) -> Iterator[int]:
    """Yield limit − usage of one group, where it has a limit; pages of files that can be dropped do not count."""
    for limit_name, usage_name, droppable in _FILES:
        limit, usage = _number(folder / limit_name), _number(folder / usage_name)
        if limit is not None and usage is not None and limit < _UNLIMITED:
            yield max(0, limit - usage + _statistic(folder / "memory.stat", droppable))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # ValueError: "max"
        return None


def _statistic(path: Path, name: str) -> int:
    try:
        rows: Sequence[str] = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(row.split()[1]) for row in rows if row.startswith(f"{name} ")), 0)
