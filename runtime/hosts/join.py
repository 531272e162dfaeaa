"""Be a rank of torchrun: join those that run the same command, and end together with them.

Each rank is given the same command. All of them read the plan and build the model; each runs its own stage, in a
process beside this one, and rank 0 alone prints and writes.
"""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from profiler.cli import keeping_quiet, quiet
from profiler.errors import StageplanError
from profiler.machine import tie_to
from runtime.hosts.torchrun import placement

if TYPE_CHECKING:
    from runtime.hosts.session import Session

RANK_TIMEOUT_S = 60.0
"""How long a rank may be late or silent where nothing else is said."""


@contextmanager
def joined(rank_timeout_s: float | None, stall_timeout_s: float | None) -> Iterator["Session"]:
    """Yield the session of this process with those that run the same command, and end together with them.

    Args:
        rank_timeout_s: How long a rank may be late or silent; None for ``RANK_TIMEOUT_S``.
        stall_timeout_s: How long all may wait for each other; None for the same.
    """
    place = placement()
    if place:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # what torch raises, it would print as well
    from runtime.hosts.session import Session

    if place is None:
        yield Session()
        return
    from runtime.hosts.meeting import meet

    tie_to(os.getppid(), signal.SIGTERM)  # a launcher that is killed would leave this process behind
    timeout_s = rank_timeout_s or RANK_TIMEOUT_S
    with _told_to_torchrun():
        session = meet(place, timeout_s, stall_timeout_s or timeout_s)
        with session.ending_together(), keeping_quiet(quiet() or not session.leads):
            yield session


@contextmanager
def _told_to_torchrun() -> Iterator[None]:
    """Leave what is said of a failure where torchrun looks for it, so that its own report says the same."""
    try:
        yield
    except StageplanError as error:
        if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
            Path(file).write_text(json.dumps({"message": str(error)}), encoding="utf-8")
        raise
