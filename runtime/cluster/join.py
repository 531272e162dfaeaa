"""Join the other ranks where a launcher such as torchrun has started this process as one of several.

Each rank is given the same command. All of them read the plan and build the model; each runs its own stage, in a
process beside this one, and rank 0 alone prints and writes.
"""

import argparse
import importlib.metadata
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from optimizer.plan import Plan
from profiler.errors import ConfigError
from profiler.files import digest, to_json
from profiler.settings import Config
from runtime.cluster.torchrun import placement
from runtime.errors import Ended, InputError

if TYPE_CHECKING:
    from runtime.cluster.session import World
    from runtime.pipeline import Launcher, Settings

RANK_TIMEOUT_S = 60.0
"""How long a rank may be late or silent where nothing else is said."""


@contextmanager
def joined(options: argparse.Namespace) -> Iterator["World | None"]:
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
    from runtime.cluster.rendezvous import muster

    timeout_s = options.rank_timeout or RANK_TIMEOUT_S
    with _told_to_end():
        world = muster(place, timeout_s, options.stall_timeout or timeout_s)
        if not world.leads:
            vars(options).update(quiet=True, json=False, output=None, trace=[])
        with world.ending_together():
            yield world


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


def agree_on_plan(world: "World", plan: Plan, config: Config, settings: "Settings") -> None:
    """Refuse to go on unless every rank has been given the same, on the same software.

    Raises:
        InputError: One has not; the same sentence on every rank. Or there are not as many ranks as stages.
    """
    from runtime.cluster.agreement import agree

    if plan.crew.size != world.size:
        on_ranks = "" if plan.crew.straight else f" on {plan.crew.size} ranks"
        raise InputError(
            f"the plan has {len(plan.stages)} stages{on_ranks} and there are {world.size} ranks; start as many with "
            f"--nnodes and --nproc-per-node, or plan for {world.size}"
        )
    _refuse_other_hosts(world, plan)
    facts = {"plan": digest(to_json(plan))}
    facts |= {name: importlib.metadata.version(name) for name in ("stageplan", "torch", "torchvision")}
    facts |= {
        "update rule": str(to_json(config.rule)),
        "number of minibatches": str(config.batches),
        "schedule": f"{settings.schedule} {settings.flush_every}",
        "data factory": settings.data or "synthetic",
        "answer to a loss that is no number": settings.on_nan,
        "seed": str(settings.seed),
    }
    agree(world, "what was given", facts)


def _refuse_other_hosts(world: "World", plan: Plan) -> None:
    """Refuse a plan that was made for the links between other hosts, or for these in another order."""
    for member, wanted in zip(world.members, plan.links.ranks if plan.links else (), strict=False):
        if member.host != wanted.host:
            hosts = ", ".join(rank.host for rank in plan.links.ranks) if plan.links else ""
            raise InputError(
                f"the plan was made for the links between {hosts}, and rank {member.rank} runs on {member.host}, not "
                f"on {wanted.host}; start the ranks in that order with --node-rank, or measure the links again"
            )


def agree_on_weights(world: "World", launcher: "Launcher") -> None:
    """Refuse to go on unless every rank has built the same model with the same initial weights.

    Raises:
        InputError: One has not; the same sentence on every rank.
    """
    from runtime.cluster.agreement import agree
    from runtime.worker import digest_of_all

    weights = digest_of_all(launcher.initial_state().values())
    agree(world, "what was built", {"model": launcher.captured.digest, "set of initial weights": weights})


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
