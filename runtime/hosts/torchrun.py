"""Be a rank of torchrun: read this process's place from the variables that it sets, and join the other ranks.

Each rank is given the same command. All of them read the plan and build the model; each runs its own stage, in a
process beside this one, and rank 0 alone prints and writes.
"""

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from profiler.cli import on_screen, screen
from profiler.errors import ConfigError, StageplanError
from profiler.machine import tie_to
from runtime.errors import InputError

if TYPE_CHECKING:
    from runtime.hosts.session import Session


_NAMES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_ELASTIC = "TORCHELASTIC_RUN_ID"
_COMMANDS = {"torchrun", "torch.distributed.run"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One process's place.

    Attributes:
        local_rank: Its number among the processes of its host.
        master: The host where the ranks meet, at ``port``.
        has_store: Whether the launcher has opened a store there; else rank 0 has to.
    """

    rank: int
    world_size: int
    local_rank: int
    master: str
    port: int
    has_store: bool


def placement(environment: Mapping[str, str] = os.environ) -> Placement | None:
    """Return this process's place, or None if no launcher has started it."""
    if _ELASTIC not in environment and not all(name in environment for name in _NAMES):
        return None
    place = Placement(
        rank=_number(environment, "RANK"),
        world_size=_number(environment, "WORLD_SIZE"),
        local_rank=_number(environment, "LOCAL_RANK", 0),
        master=environment.get("MASTER_ADDR", ""),
        port=_number(environment, "MASTER_PORT"),
        has_store=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
    )
    if not place.master or place.rank >= place.world_size:
        raise InputError(
            f"the launcher's variables make no sense: RANK={place.rank} of WORLD_SIZE={place.world_size}, "
            f"MASTER_ADDR='{place.master}'; start the ranks with torchrun"
        )
    return place


def written_since_launch(path: Path) -> bool:
    """Say whether torchrun has started this process, and a file been written since torchrun itself was started."""
    if _ELASTIC not in os.environ or not path.exists():
        return False
    above = psutil.Process().parents()
    launcher = next(
        (process for process in above if _COMMANDS & {Path(word).name for word in process.cmdline()}), above[0]
    )
    return path.stat().st_mtime > launcher.create_time()


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        raise InputError(f"{name}='{text}' is no whole number; start the ranks with torchrun, which sets it")
    return int(text)


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
        seen = screen() if session.leads else replace(screen(), quiet=True)
        with session.ending_together(), on_screen(seen):
            yield session


def refuse_ranks(command: str) -> None:
    """Refuse a command that starts all processes itself where torchrun has started several of it."""
    if placement() is not None:
        raise ConfigError(f"{command} starts its own processes; call it without torchrun, or use run or verify")


@contextmanager
def _told_to_torchrun() -> Iterator[None]:
    """Leave what is said of a failure where torchrun looks for it, so that its own report says the same."""
    try:
        yield
    except StageplanError as error:
        if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
            Path(file).write_text(json.dumps({"message": str(error)}), encoding="utf-8")
        raise
