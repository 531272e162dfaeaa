"""Refuse a run that cannot fit into memory before it starts, and say what a machine or its container has."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from optimizer.plan import Plan
from optimizer.schedule import StageRequirements
from profiler.report import mib
from runtime.errors import TooLargeError
from runtime.results import ChannelName

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


def refuse_too_little_memory(
    plan: Plan,
    requirements: Sequence[StageRequirements],
    channel: ChannelName,
    free_bytes: int,
    whose: str,
    *,
    stages: Sequence[int],
) -> None:
    """Refuse a plan whose stages on this host need more together than is free.

    Args:
        plan: Under the schedule that is to run.
        requirements: Those of that schedule.
        channel: In shared memory, neighbours count the same slots.
        free_bytes: How much is free.
        whose: And whose limit that is.
        stages: Which stages are on this host.

    Raises:
        TooLargeError: They do.
    """
    needed = [plan.stages[stage].memory_bytes for stage in stages]
    shared = _slot_bytes(plan, requirements) if channel == "shm" else 0
    if sum(needed) - shared <= free_bytes:
        return
    listed = " + ".join(mib(size) for size in needed)
    flush = (
        ""
        if plan.pace.flush_every or plan.layout.replicated
        else ", or --schedule 1f1b-flush, which keeps one weight version"
    )
    raise TooLargeError(
        f"the {len(needed)} stages of {plan.model} need {mib(sum(needed) - shared)} MiB of memory ({listed}, what two "
        f"share counted once) and {whose} has {mib(free_bytes)} MiB free; use a smaller --batch-size{flush}"
    )


def _slot_bytes(plan: Plan, requirements: Sequence[StageRequirements]) -> int:
    """Return the bytes of all slots, which both neighbours count as their own."""
    return sum(
        stage.sizes.activation_bytes * requirement.activation_slots
        + stage.sizes.gradient_bytes * requirement.gradient_slots
        for stage, requirement in zip(plan.stages, requirements, strict=True)
    )


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
