"""One comparison that is carried out: taken up where it is kept, or begun."""

from dataclasses import dataclass, replace
from pathlib import Path

from optimizer.cli import planned_models, plans_of
from optimizer.plan import Plan, scheduled
from optimizer.planning import Schemes, spaced_splits
from optimizer.schedule import schedule_of
from optimizer.what_if import chain_of
from profiler.capture import captured_model
from profiler.cli import note
from profiler.settings import Config
from runtime.baselines import why_left_out
from runtime.compare import (
    Comparison,
    Request,
    find_comparison,
    new_comparison,
    reference_of,
    run_length,
)
from runtime.comparing.wish import Wish
from runtime.pipeline import core_count, default_clock
from runtime.results import Clock
from runtime.worker import Settings


@dataclass(frozen=True, slots=True)
class Job:
    """One comparison: what it is about, where to keep it, and what is known of it.

    Attributes:
        settings: How splits run.
        in_the_way: Why what lies in ``path`` is another comparison; nothing where that is not so.
    """

    config: Config
    settings: Settings
    path: Path
    comparison: Comparison
    in_the_way: str


def job_of(wish: Wish, request: Request, schemes: Schemes) -> Job:
    """Take up the comparison that is kept, or begin one."""
    config, path = wish.config, wish.path
    clock = wish.clock or default_clock(request.cores, request.channel)
    settings = replace(wish.settings, clock=clock)
    held = find_comparison(path, request, clock, fresh=wish.fresh, digest=lambda: captured_model(config).digest)
    comparison = held.comparison
    if comparison is None:
        return Job(config, settings, path, _begun(wish, request, clock, schemes), held.reason)
    if comparison.complete:
        text = f"{path} is that very comparison, of {comparison.began_at}; --fresh measures anew"
    else:
        text = f"going on with {path}: {comparison.rounds} of {comparison.request.repeats} rounds are done"
    note(text)
    return Job(config, settings, path, comparison, "")


def _begun(wish: Wish, request: Request, clock: Clock, schemes: Schemes) -> Comparison:
    """Return a comparison in which nothing has run yet: plan all partitions."""
    left_out: list[str] = []

    def report(sentence: str) -> None:
        left_out.append(sentence)
        note(sentence)

    told: list[str] = []
    models = planned_models(
        wish.config, wish.settings.pace, request.asked, told.append, budget_s=wish.budget_s, quick=wish.quick
    )
    for sentence in told:
        note(sentence)
    plans = plans_of(models, list(request.asked), schemes, report)
    splits = {plan.split for plan in plans.values()}
    plans |= spaced_splits(models.whole, request.distinct_splits, splits)
    plans = {name: _scheduled(plan, request, clock) for name, plan in plans.items()}
    minibatches = plans[reference_of(plans)].predicted.minibatches
    if without := why_left_out(request.cores) if request.baselines else "":
        report(without)
    wholes = [planner.profile for planner in (models.whole, models.lowered_whole) if planner]
    return new_comparison(
        request,
        clock,
        plans,
        models.whole.profile,
        whole=min(wholes, key=lambda profile: profile.whole_step_s),
        baselines=request.baselines and not without,
        left_out=left_out,
        forms=" ".join(told),
        chain=chain_of(models.whole, schemes, minibatches) if request.num_stages > 1 else None,
    )


def _scheduled(plan: Plan, request: Request, clock: Clock) -> Plan:
    """Return a plan under the schedule of its runs, which last for as long as was asked for."""
    every = request.update_every
    minibatches = request.minibatches or run_length(plan, every, clock, core_count(request.cores))
    return scheduled(plan, schedule_of(plan.pace, request.num_stages, minibatches))
