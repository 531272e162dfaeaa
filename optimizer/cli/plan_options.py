"""The options of ``python -m optimizer``."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from optimizer.cli.planning_options import PlanningOptions
from optimizer.plan import EXACT
from optimizer.planning import OTHER_PLANNERS, cut_named
from profiler.cli import option, positive, size, switch
from profiler.errors import ConfigError


def names(text: str) -> tuple[str, ...]:
    """Parse the layers of a forced cut."""
    try:
        return cut_named(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions(PlanningOptions):
    """The options of ``python -m optimizer``."""

    profile: Annotated[
        Path | None, option("plan for this profile, not a fresh one", under="model and data", type=Path, metavar="FILE")
    ] = None
    method: Annotated[
        str, option(f"{EXACT}, a scheme, {', '.join(OTHER_PLANNERS)} ({EXACT})", under="split", metavar="M")
    ] = EXACT
    cut_after: Annotated[
        tuple[tuple[str, ...], ...],
        option(
            "force a cut behind these; once for each cut", under="split", action="append", type=names, metavar="NAME,…"
        ),
    ] = ()
    memory_limit_bytes: Annotated[
        int | None, option("what a stage may take", "--memory-limit", under="split", type=size, metavar="2GiB")
    ] = None
    links: Annotated[
        Path | None,
        option("plan for the ranks that links measured", under="more", type=Path, metavar="FILE"),
    ] = None
    batches: Annotated[int | None, option("minibatches that predictions are for", type=positive, metavar="N")] = None
    any_machine: Annotated[bool, switch("take --profile wherever it was measured", under="more")] = False
    all: Annotated[bool, switch("each scheme and planner beside it", under="output")] = False
    explain: Annotated[bool, switch("why, and what other cuts would cost", under="output")] = False
    plot: Annotated[
        Path | None, option("a page in which cuts can be moved", under="output", type=Path, metavar="FILE")
    ] = None
    output: Annotated[
        Path | None,
        option("write the plan", "-o", "--output", under="output", type=Path, metavar="FILE"),
    ] = None
