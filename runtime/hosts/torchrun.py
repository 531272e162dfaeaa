"""Read a process's place among the ranks from the variables that torchrun sets."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from runtime.errors import InputError

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
