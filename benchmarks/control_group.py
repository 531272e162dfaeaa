"""Control groups of the kernel's, where this process may make them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIMITS = {"memory": "memory.limit_in_bytes", "": "memory.max"}
"""Where groups are made in the kernel's two versions of them, and which file has the limit."""


@contextmanager
def small_group() -> Iterator[Path | None]:
    """Yield the folder of a group that may have little memory; None where none can be made."""
    for controller, limit in LIMITS.items():
        group = Path("/sys/fs/cgroup", controller, f"stageplan-{os.getpid()}")
        try:
            group.mkdir()
            (group / limit).write_text(str(64 << 20))
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
