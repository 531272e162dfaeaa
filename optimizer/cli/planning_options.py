"""The options of every command that plans: a schedule; and those of ``python -m optimizer`` itself."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from optimizer.plan import EXACT
from optimizer.planning import cut_named, link_of
from optimizer.schedule import FLUSH_EVERY, PLAIN_1F1B, SCHEDULES, Pace, ScheduleName
from profiler.cli import CommonOptions, option, positive, size, switch
from profiler.errors import ConfigError
from profiler.profile import CopyCost


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningOptions(CommonOptions):
    """The options of every command that plans, or that runs a plan."""

    HEADING: ClassVar[str] = "how to run"

    batches: Annotated[int | None, option("minibatches per run", type=positive, metavar="N")] = None
    schedule: Annotated[
        ScheduleName | None,
        option(f"{', '.join(SCHEDULES)} ({PLAIN_1F1B.name})", choices=SCHEDULES, metavar="NAME"),
    ] = None
    update_every: Annotated[
        int | None,
        option(
            f"minibatches an update of all but {PLAIN_1F1B.name} ({FLUSH_EVERY})",
            under="more",
            type=positive,
            metavar="M",
        ),
    ] = None

    def pace(self, stages: int, planned: Pace = PLAIN_1F1B) -> Pace:
        """Return the pace of a pipeline of so many stages; where nothing is said, the one that was ``planned``."""
        name = self.schedule or planned.name
        takes = [other for other, rule in SCHEDULES.items() if rule.usual]
        if self.update_every and name not in takes:
            raise ConfigError(f"--update-every says nothing to --schedule {name}; use {' or '.join(takes)}")
        return planned.changed(self.schedule, stages, self.update_every)


def names(text: str) -> tuple[str, ...]:
    """Parse the layers of a forced cut."""
    try:
        return cut_named(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def network(text: str) -> CopyCost:
    """Parse a network's speed and latency."""
    try:
        mbit_per_s, latency_ms = map(float, text.split(","))
        return link_of(mbit_per_s, latency_ms)
    except (ConfigError, ValueError) as error:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a network's Mbit/s and its latency in ms, such as 100,0.2"
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions(PlanningOptions):
    """The options of ``python -m optimizer``."""

    profile: Annotated[
        Path | None, option("plan for this profile, not a fresh one", under="model and data", type=Path, metavar="FILE")
    ] = None
    method: Annotated[str, option(f"{EXACT}, or a scheme ({EXACT})", under="split", metavar="M")] = EXACT
    cut_after: Annotated[
        tuple[tuple[str, ...], ...],
        option(
            "force a cut behind these; once for each cut", under="split", action="append", type=names, metavar="NAME,…"
        ),
    ] = ()
    memory_limit_bytes: Annotated[
        int | None, option("what a stage may take", "--memory-limit", under="split", type=size, metavar="2GiB")
    ] = None
    link: Annotated[
        CopyCost | None, option("the network between hosts", under="more", type=network, metavar="MBIT/S,MS")
    ] = None
    batches: Annotated[int | None, option("minibatches that predictions are for", type=positive, metavar="N")] = None
    any_machine: Annotated[bool, switch("take --profile wherever it was measured", under="more")] = False
    all: Annotated[bool, switch("each scheme beside it", under="output")] = False
    plot: Annotated[
        Path | None, option("a page in which cuts can be moved", under="output", type=Path, metavar="FILE")
    ] = None
    output: Annotated[
        Path | None,
        option("write the plan", "-o", "--output", under="output", type=Path, metavar="FILE"),
    ] = None
