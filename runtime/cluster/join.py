"""Join the other ranks where a launcher such as torchrun has started this process as one of several.

Each rank is given the same command. All of them read the plan and build the model; each runs its own stage, in a
process beside this one, and rank 0 alone prints and writes.
"""

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from profiler.errors import ConfigError
from runtime.cluster.torchrun import placement
from runtime.errors import Ended

if TYPE_CHECKING:
    from runtime.cluster.session import Session

RANK_TIMEOUT_S = 60.0
"""How long a rank may be late or silent where nothing else is said."""


@contextmanager
def joined(options: argparse.Namespace) -> Iterator["Session | None"]:
    """Yield the ranks that run together, and end together with them; None where this process runs on its own.

    On all ranks but the first, ``options`` lose what prints or writes.

    Raises:
        InputError: Not all ranks have come in time, or one was given something that cannot be used.
        RunError: A rank has failed.
    """
    place = placement()
    if place is None:
        yield None
        return
    from runtime.cluster.rendezvous import meet

    timeout_s = options.rank_timeout or RANK_TIMEOUT_S
    with _told_to_end():
        session = meet(place, timeout_s, options.stall_timeout or timeout_s)
        if not session.leads:
            vars(options).update(quiet=True, json=False, output=None, trace=[])
        with session.ending_together():
            yield session


def refuse_without_plan(options: argparse.Namespace) -> None:
    """Refuse to let ranks of torchrun plan for themselves, or share memory.

    Raises:
        ConfigError: They would.
    """
    if options.channel == "shm":
        raise ConfigError("ranks of torchrun cannot meet in shared memory; leave out --channel shm")
    if not options.plan:
        raise ConfigError(
            "every rank of torchrun needs the same plan; make one with python -m optimizer -o plan.json, and name it "
            "with --plan"
        )


def refuse_ranks(command: str) -> None:
    """Refuse a command that starts all processes itself where torchrun has started several of it.

    Raises:
        ConfigError: It has.
    """
    if placement() is not None:
        raise ConfigError(f"{command} starts its own processes; call it without torchrun, or use run or verify")


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Let SIGTERM, with which torchrun ends the ranks of a host, end this process in order."""

    def end(number: int, _frame: object) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)
        raise Ended("told to end, by SIGTERM: the launcher ends all ranks of a host when one fails")

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
