"""``python -m optimizer``: the best split of a model into stages, beside the schemes."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import optimizer.planning
import optimizer.report
import optimizer.what_if
from optimizer.cli.models_to_plan import models_to_plan
from optimizer.cli.planning_options import PlanOptions
from optimizer.errors import OptimizerError
from optimizer.plan import Plan
from optimizer.planning import (
    LOWERED,
    OPTIMIZED,
    SLICED,
    Schemes,
    load_schemes,
    partition_of,
    refuse_limits,
)
from optimizer.schedule import PLAIN_1F1B
from profiler.cli import (
    Parser,
    add_options,
    emit_json,
    execute,
    note,
    quiet,
    stdout,
)
from profiler.commands import MODULES, again, command, typed_as
from profiler.files import to_json, write_whole
from profiler.machine import neighbouring_cores, usable_cores
from profiler.output_files import OutputKind, refuse_unwritable
from profiler.profile import AUTO

if TYPE_CHECKING:
    from optimizer.planning import Models

PAGE = ".html"


@typed_as(MODULES)
def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = Parser(
        prog=command("plan"), description="Find the best split of a model into pipeline stages.",
        examples=("--model resnet50", "--model alexnet --stages 2 -o plan.json"),
    )  # fmt: skip
    add_options(parser, PlanOptions)
    return execute(parser.parse_args(argv), PlanOptions, plan_all)


def plan_all(options: PlanOptions) -> int:
    """Plan for each model that is named, and show or write what is asked for."""
    schemes = load_schemes()
    partition = partition_of(options.method, schemes)
    _refuse_contradictions(options)
    outputs: list[tuple[Path | None, OutputKind, str]] = [
        (options.output, "plan", "-o"),
        (options.plot, "page", "--plot"),
    ]
    for path, kind, flag in outputs:
        if path:
            refuse_unwritable(path, kind, flag)
    every = list(models_to_plan(options))
    printed = [_carry_out(models, partition, schemes, options) for models in every]
    emit_json([result for result in printed if result is not None])
    return 0


def _refuse_contradictions(options: PlanOptions) -> None:
    """Refuse what only the best split can have together with another method, and one file for two things."""
    limits = {"--cut-after": options.cut_after, "--memory-limit": options.memory_limit_bytes}
    refuse_limits(options.method, limits)
    if options.output and options.plot and options.output.resolve() == options.plot.resolve():
        raise OptimizerError(f"{options.plot} is one file for the plan and the page; name two")
    if options.plot and options.plot.suffix != PAGE:
        raise OptimizerError(f"{options.plot} does not end in {PAGE}; name such a file with --plot")
    if options.plot and options.link:
        raise OptimizerError(f"the page {options.plot} knows one machine only, and --link is of several; leave one out")


def _carry_out(models: "Models", name: str, schemes: Schemes, options: PlanOptions) -> object:
    """Plan for one profile and show it; returns what ``--json`` prints."""
    plans = _plans(models, schemes)
    if models.sliced:
        plans = {SLICED: models.sliced_plan()} | plans
    if models.lowered:
        plans = {LOWERED: models.lowered_plan()} | plans
    name = name if models.best is models.whole else models.best_name
    plan = plans.get(name) or optimizer.planning.plan_for(name, models, schemes)  # which says why there is none
    _write(plan, models, schemes, options)
    if options.json:
        return plan
    if not quiet():
        cores = len(neighbouring_cores(usable_cores(options.cores or ()), plan.num_stages))
        _show(plan, models, {name: plans[name] for name in schemes if name in plans}, None if options.link else cores)
        if options.all:
            optimizer.report.show_partitions(plans, stdout())
        if not options.link:
            stdout().print(f"Next: {_next(plan, options, models.whole.profile.typed)}", soft_wrap=True)
    return None


def _show(plan: Plan, models: "Models", rivals: Mapping[str, Plan], cores: int | None) -> None:
    """Print a plan, what it gives beside rules of thumb on so many cores, and what was chosen."""
    console, planner = stdout(), models.best
    optimizer.report.show_plan(plan, console, planner.profile, models.alone, rivals=rivals, cores=cores)
    optimizer.report.show_gain(plan, rivals, planner, console, alone=models.alone)
    for sentence in chain.from_iterable(optimizer.report.model_sentences(models)):
        console.print(f"{sentence[0].upper()}{sentence[1:]}.")


def _plans(models: "Models", schemes: Schemes) -> dict[str, Plan]:
    """Return the plans of the model as it is, or as it is cut inside in a profile that was named."""
    names = () if models.whole.profile.slicing else tuple(schemes)
    return optimizer.planning.plans_for((OPTIMIZED, *names), models, schemes, note)


def _write(plan: Plan, models: "Models", schemes: Schemes, options: PlanOptions) -> None:
    page = _page(plan, models, schemes, options.plot) if options.plot else b""
    if options.output:
        write_whole(options.output, to_json(plan))
        note(f"{plan.model}: plan written to {options.output}")
    if options.plot:
        write_whole(options.plot, page, "--plot")
        note(f"{plan.model}: page written to {options.plot}")


def _page(plan: Plan, models: "Models", schemes: Schemes, path: Path) -> bytes:
    """Return the page in which a plan's cuts can be moved."""
    costs = optimizer.what_if.chain_of(models.whole, schemes)
    if not costs.pipelines:
        raise OptimizerError(
            f"{plan.model} has no split of two to eight stages under {plan.planned_for.words} with cuts in captured "
            f"order, and in {path} such cuts are moved; leave it out"
        )
    beside = {models.best_name: plan} if plan.form != models.whole.profile.form else {}
    return optimizer.what_if.what_if_page(costs, *optimizer.what_if.shown_first(costs, plan), beside)


def _next(plan: Plan, options: PlanOptions, typed: Sequence[str]) -> str:
    """Return what to type next: to run the plan where it was kept, else to compare splits."""
    if options.output:
        return command("run", plan=options.output, config=options.config)
    schedule = plan.planned_for.name if plan.planned_for.name != PLAIN_1F1B.name else None
    tried = options.precision if options.precision == AUTO else None
    return again("compare", typed, schedule=schedule, slice=options.slice, precision=tried)
