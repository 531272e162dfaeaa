"""Take up a comparison where it is kept, or begin one, in which nothing has run yet: plan all partitions."""

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import ceil
from pathlib import Path

from optimizer.cli import planned_models, plans_of
from optimizer.plan import Plan, distinct, scheduled
from optimizer.planning import LOWERED, OPTIMIZED, SLICED, load_schemes
from optimizer.schedule import schedule_of
from optimizer.what_if import Chain, chain_of
from profiler.capture import captured_model
from profiler.cli import note
from profiler.commands import command
from profiler.machine import this_machine
from profiler.profile import Profile
from profiler.settings import Config
from runtime.baselines import why_left_out
from runtime.compare.comparison import Comparison
from runtime.compare.contender import Contender, one_core, plain_pytorch
from runtime.compare.request import Request
from runtime.compare.resume import find_comparison
from runtime.pipeline import core_count, default_clock
from runtime.results import Clock
from runtime.worker import Settings

STEADY_S = 1.5
"""How long a run lasts in its steady state, where no number of minibatches is wanted."""
LEAST_ROUNDS_OF_STAGES, MOST_MINIBATCHES = 3, 1000


@dataclass(frozen=True, slots=True)
class Job:
    """One comparison that is carried out: what it is about, where to keep it, and what is known of it.

    Attributes:
        settings: How splits run.
        in_the_way: Why what lies in ``path`` is another comparison; nothing where that is not so.
    """

    config: Config
    settings: Settings
    path: Path
    comparison: Comparison
    in_the_way: str


def job_of(
    config: Config,
    settings: Settings,
    path: Path,
    request: Request,
    *,
    clock: Clock | None = None,
    fresh: bool = False,
    quick: bool = False,
    budget_s: float | None = None,
) -> Job:
    """Take up the comparison that is kept, or begin one.

    Args:
        config: The model, its minibatch, the rounds, the partitions.
        settings: How splits run.
        path: Where the comparison is kept.
        request: What ``request_of`` makes of all that.
        clock: By which splits run; None: as their cores allow.
        fresh: Whether to measure anew what is there already.
        quick: Whether a profile of few rounds will do.
        budget_s: How long to measure a profile, where none is kept that fits; None: until a plan is known.
    """
    settings = replace(settings, clock=clock or default_clock(request.cores, request.channel))
    held = find_comparison(
        path, request, settings.clock, fresh=fresh, digest=lambda: captured_model(config).digest
    )  # fmt: skip
    comparison = held.comparison
    if comparison is None:
        begun = _begun(config, settings, request, quick=quick, budget_s=budget_s)
        return Job(config, settings, path, begun, held.reason)
    if comparison.complete:
        note(f"{path} is that very comparison, of {comparison.began_at}; --fresh measures anew")
    else:
        note(f"going on with {path}: {comparison.rounds} of {comparison.request.repeats} rounds are done")
    return Job(config, settings, path, comparison, "")


def _begun(config: Config, settings: Settings, request: Request, *, quick: bool, budget_s: float | None) -> Comparison:
    """Plan all partitions that are asked for; arguments as of ``job_of``."""
    schemes = load_schemes()
    left_out, forms = list[str](), list[str]()
    models = planned_models(config, settings.pace, request.asked, forms.append, budget_s=budget_s, quick=quick)
    for sentence in forms:
        note(sentence)
    plans = plans_of(models, list(request.asked), schemes, left_out.append)
    plans = {name: _scheduled(plan, request, settings.clock) for name, plan in plans.items()}
    if without := why_left_out(config, set(request.cores), request.data):
        left_out.append(without)
    minibatches = plans[reference_of(plans)].predicted.minibatches
    wholes = [planner.profile for planner in (models.whole, models.lowered_whole) if planner]
    return new_comparison(
        request,
        settings.clock,
        plans,
        models.whole.profile,
        whole=min(wholes, key=lambda own: own.whole_step_s),
        plain=not without,
        left_out=left_out,
        forms=" ".join(forms),
        chain=chain_of(models.whole, schemes, minibatches) if request.num_stages > 1 else None,
    )


def new_comparison(
    request: Request,
    clock: Clock,
    plans: Mapping[str, Plan],
    profile: Profile,
    *,
    whole: Profile,
    plain: bool,
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
        plain: Whether plain PyTorch runs beside them.
        left_out: Why partitions that were asked for, or plain PyTorch, are not among them.
        forms: What was chosen of precision and slices, in sentences.
        chain: What its layers cost along their captured order.
    """
    names, first = list(plans), distinct(list(plans.values()))
    partitions = [
        Contender(name=name, split=plan, same_as=None if names[at] == name else names[at])
        for (name, plan), at in zip(plans.items(), first, strict=True)
    ]
    beside = [plain_pytorch(len(set(request.cores)))] if plain else []
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
        layers=tuple(replace(layer, rounds_s=()) for layer in profile.layers),
        chain=chain,
        plain_step_s=whole.whole_step_s,
        whole_precision=whole.precision,
        contenders=(*partitions, one_core(), *beside),
    )


def _scheduled(plan: Plan, request: Request, clock: Clock) -> Plan:
    """Return a plan under the schedule of its runs, which last for as long as was asked for."""
    every = request.update_every
    minibatches = request.minibatches or run_length(plan, every, clock, core_count(request.cores))
    return scheduled(plan, schedule_of(plan.pace, request.num_stages, minibatches))


def reference_of(names: Iterable[str]) -> str:
    """Return the partition that ratios are about."""
    every = list(names)
    return next((name for name in (LOWERED, SLICED, OPTIMIZED) if name in every), every[0])


def run_length(plan: Plan, update_every: int, clock: Clock, cores: int) -> int:
    """Return how many minibatches take a second or two, of which the stages are filled several times, in whole updates.

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
