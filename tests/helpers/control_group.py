"""Control groups of the kernel's, where this process may make them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

PLACES = {
    "memory": {"memory": ("memory.limit_in_bytes", 64 << 20), "": ("memory.max", 64 << 20)},
    "pids": {"pids": ("pids.max", 64), "": ("pids.max", 64)},
}
"""Where groups are made in the kernel's two versions of them, which file has the limit, and that."""


@contextmanager
def small_group(of: Literal["memory", "pids"] = "memory") -> Iterator[Path | None]:
    """Yield the folder of a group that may have little memory, or few processes; None where none can be made."""
    for controller, (limit, value) in PLACES[of].items():
        group = Path("/sys/fs/cgroup", controller, f"stageplan-{os.getpid()}")
        try:
            group.mkdir()
            (group / limit).write_text(str(value))
        except OSError:
            if group.is_dir():
                group.rmdir()
            continue
        try:
            yield group
        finally:
            group.rmdir()
        return
    yield None
