"""Say how much memory is free: to the machine, to its container, and to this process."""

import resource
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

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
