"""Begin a comparison: nothing in it has run yet."""

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import ceil

from optimizer.plan import Plan, distinct
from optimizer.planning import LOWERED, OPTIMIZED, SLICED
from optimizer.what_if import Chain
from profiler.commands import command
from profiler.machine import this_machine
from profiler.profile import Profile, profile_warnings
from runtime.compare.comparison import Comparison
from runtime.compare.contender import Contender, one_core, one_process
from runtime.compare.request import Request
from runtime.pipeline import core_count
from runtime.results import Clock


def new_comparison(
    request: Request,
    clock: Clock,
    plans: Mapping[str, Plan],
    profile: Profile,
    *,
    whole: Profile,
    baselines: bool,
    left_out: Sequence[str],
    forms: str,
    chain: Chain | None = None,
) -> Comparison:
    """Return a comparison in which nothing has run yet.

    Args:
        request: What is asked for.
        clock: The clock of the partitions' runs.
        plans: The partitions by name, each under the schedule that is to run.
        profile: What they were planned with, all layers whole.
        whole: Of the model in the precision in which it runs in one process.
        baselines: Whether one process with a thread for each stage runs beside them, as installed and tuned.
        left_out: Why partitions and baselines that were asked for are not among them.
        forms: What was chosen of precision and slices, in sentences.
        chain: What its layers cost along their captured order.
    """
    names = list(plans)
    first = distinct(list(plans.values()))
    partitions = tuple(
        Contender(name=name, split=plan, same_as=None if names[at] == name else names[at])
        for (name, plan), at in zip(plans.items(), first, strict=True)
    )
    threads = [one_process(len(request.cores), tuned=tuned) for tuned in (False, True)] if baselines else []
    return Comparison(
        request=request,
        model_digest=profile.model_digest,
        clock=clock,
        core_count=core_count(request.cores),
        left_out=tuple(left_out),
        forms=forms,
        reference=reference_of(names),
        machine=this_machine(),
        began_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command_line(),
        typed=profile.typed,
        profile_warnings=tuple(profile_warnings(profile)),
        layers=tuple(replace(layer, forward=None, backward=None, update=None) for layer in profile.layers),
        chain=chain,
        plain_step_s=whole.whole_step_s,
        whole_precision=whole.precision,
        contenders=(*partitions, one_core(), *threads),
    )


def reference_of(names: Iterable[str]) -> str:
    """Return the partition that ratios are about."""
    every = list(names)
    return next((name for name in (LOWERED, SLICED, OPTIMIZED) if name in every), every[0])


STEADY_S = 3.0
"""How long a run lasts in its steady state, where no number of minibatches is wanted."""
LEAST_ROUNDS_OF_STAGES, MOST_MINIBATCHES = 3, 1000


def run_length(plan: Plan, update_every: int, clock: Clock, cores: int) -> int:
    """Return how many minibatches take a few seconds, of which the stages are filled several times, in whole updates.

    Args:
        plan: As predicted.
        update_every: How many minibatches an update takes.
        clock: Of the run.
        cores: How many physical cores its stages have.
    """
    stages = len(plan.stages)
    shared = clock == "virtual" or cores < stages
    period_s = sum(stage.total_s for stage in plan.stages) / cores if shared else plan.bottleneck_s
    wanted = stages + ceil(STEADY_S / period_s) if period_s else MOST_MINIBATCHES
    least = LEAST_ROUNDS_OF_STAGES * max(stages, update_every)
    return ceil(max(least, min(wanted, MOST_MINIBATCHES)) / update_every) * update_every


def command_line() -> str:
    """Return the command that was typed."""
    return f"{command()} {shlex.join(sys.argv[1:])}"
