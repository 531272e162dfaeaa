"""A control group of the kernel's with little memory, where this process may make one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIMIT_BYTES = 64 << 20
PLACES = {
    Path("/sys/fs/cgroup/memory"): "memory.limit_in_bytes",
    Path("/sys/fs/cgroup"): "memory.max",
}
"""Where groups are made in the kernel's two versions of them, and which file has the limit."""


@contextmanager
def small_group() -> Iterator[Path | None]:
    """Yield the folder of a group whose processes may take little memory more; None where none can be made."""
    for top, limit in PLACES.items():
        group = top / f"stageplan-{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text(str(LIMIT_BYTES))
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
