"""``python -m optimizer``: the best split of a model into stages, beside the schemes."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import optimizer.explain
import optimizer.plan
import optimizer.planning
import optimizer.report
import optimizer.what_if
from optimizer.cli.planning_options import PlanningOptions
from optimizer.cli.profiles_of_forms import named_base, profiles_of_forms
from optimizer.errors import OptimizerError
from optimizer.plan import EXACT, NetworkProfile, Plan
from optimizer.planning import (
    LOWERED,
    OPTIMIZED,
    OTHER_PLANNERS,
    SLICED,
    Schemes,
    cut_named,
    load_schemes,
    model_request,
    partition_of,
    refuse_limits,
)
from optimizer.schedule import PLAIN_1F1B
from profiler.cli import (
    Parser,
    add_options,
    configs,
    emit_json,
    execute,
    fresh_profile,
    note,
    option,
    positive,
    screen,
    size,
    stdout,
    switch,
)
from profiler.commands import MODULES, again, command, typed_as
from profiler.errors import ConfigError
from profiler.files import read_json, to_json, write_whole
from profiler.machine import differences, this_machine
from profiler.output_files import refuse_unwritable
from profiler.profile import AUTO, Profile, form_named, profile_warnings
from profiler.settings import Config
from profiler.settings import config as configuration

if TYPE_CHECKING:
    from optimizer.planning import Models, ProfileOf

LIST, DRAWING, PAGE = ".txt", ".svg", ".html"
LINK_BLIND = "link-blind"


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
        Path | None, option("the graph as .svg; cuts to move as .html", under="output", type=Path, metavar="FILE")
    ] = None
    output: Annotated[
        Path | None,
        option(f"write the plan, or its cuts as x{LIST}", "-o", "--output", under="output", type=Path, metavar="FILE"),
    ] = None


@typed_as(MODULES)
def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = Parser(
        prog=command("plan"), description="Find the best split of a model into pipeline stages.",
        examples=("--model resnet50", "--model alexnet --stages 2 --explain -o plan.json"),
    )  # fmt: skip
    add_options(parser, PlanOptions)
    return execute(parser.parse_args(argv), PlanOptions, plan_all)


def plan_all(options: PlanOptions) -> int:
    """Plan for each model that is named, and show or write what is asked for."""
    schemes = load_schemes()
    partition = partition_of(options.method, schemes)
    _refuse_contradictions(options)
    if options.output:
        refuse_unwritable(options.output, "list of cuts" if options.output.suffix == LIST else "plan", "-o")
    if options.plot:
        refuse_unwritable(options.plot, "page" if options.plot.suffix == PAGE else "drawing", "--plot")
    if options.plot and options.plot.suffix not in (DRAWING, PAGE):
        raise OptimizerError(
            f"{options.plot} ends in neither {DRAWING} (the graph with its stages) nor {PAGE} (cuts to move by hand); "
            "name such a file with --plot"
        )
    if options.plot and options.plot.suffix == PAGE and options.links:
        raise OptimizerError(f"the page {options.plot} knows equal cores only, and --links has others; leave one out")
    printed = [_carry_out(models, partition, schemes, options) for models in list(_models(options))]
    emit_json([result for result in printed if result is not None])
    return 0


def _refuse_contradictions(options: PlanOptions) -> None:
    """Refuse what only the best split can have together with another method, and one file for two things."""
    limits = {
        "--cut-after": options.cut_after,
        "--memory-limit": options.memory_limit_bytes,
        "--explain": options.explain,
    }
    refuse_limits(options.method, limits)
    if options.links and options.explain:
        raise OptimizerError("--explain knows equal cores only, and --links has others; leave one out")
    if options.output and options.plot and options.output.resolve() == options.plot.resolve():
        raise OptimizerError(f"{options.plot} is one file for the plan and the drawing; name two")


def _carry_out(models: "Models", name: str, schemes: Schemes, options: PlanOptions) -> object:
    """Plan for one profile and show it; returns what ``--json`` prints."""
    plans, best = _plans(models, schemes, options), models.best
    if models.sliced:
        plans = {SLICED: models.sliced_plan()} | plans
    if models.lowered:
        plans = {LOWERED: models.lowered_plan()} | plans
    name = name if best is models.whole else models.best_name
    plan = plans.get(name) or optimizer.planning.plan_for(name, models, schemes)  # which says why there is none
    others = {other: other_plan for other, other_plan in plans.items() if other_plan != plan}
    explanation = (
        optimizer.explain.explain(best, plan, others, models.whole.profile.layers) if options.explain else None
    )
    _write(plan, models, schemes, options)
    if options.json:
        return {"plan": plan, "explanation": explanation} if explanation else plan
    if not screen().quiet:
        _show(plan, plans, models, schemes)
        if explanation:
            optimizer.report.show_explanation(plan, explanation, stdout())
        if options.all:
            optimizer.report.show_partitions(plans, stdout())
        if not options.links:
            stdout().print(f"Next: {_next(plan, options, best.profile.typed)}", soft_wrap=True)
    return None


def _show(plan: Plan, plans: Mapping[str, Plan], models: "Models", schemes: Schemes) -> None:
    """Print a plan, what it gives, and what was chosen."""
    console, planner = stdout(), models.best
    optimizer.report.show_plan(plan, console, planner.profile)
    optimizer.report.show_gain(plan, plans, schemes, planner, console)
    for sentence in chain.from_iterable(optimizer.report.model_sentences(models)):
        console.print(f"{sentence[0].upper()}{sentence[1:]}.")


def _plans(models: "Models", schemes: Schemes, options: PlanOptions) -> dict[str, Plan]:
    """Return the plans in float32 with whole layers."""
    plans = optimizer.planning.plans_for((OPTIMIZED, *schemes, *OTHER_PLANNERS), models, schemes, note)
    return plans | {LINK_BLIND: models.whole.link_blind()} if options.links else plans


def _write(plan: Plan, models: "Models", schemes: Schemes, options: PlanOptions) -> None:
    drawn = _drawn(plan, models, schemes, options.plot) if options.plot else b""
    if options.output:
        if options.output.suffix == LIST:
            write_whole(options.output, models.best.cut_list(plan).encode())
        else:
            write_whole(options.output, to_json(plan))
        note(f"{plan.model}: plan written to {options.output}")
    if options.plot:
        write_whole(options.plot, drawn, "--plot")
        note(f"{plan.model}: drawing written to {options.plot}")


def _drawn(plan: Plan, models: "Models", schemes: Schemes, path: Path) -> bytes:
    """Return a plan's drawing, or the page in which its cuts can be moved."""
    if path.suffix == DRAWING:
        return optimizer.report.plan_svg(plan, models.best.profile)
    costs = optimizer.what_if.chain_of(models.whole, schemes)
    if not costs.pipelines:
        raise OptimizerError(
            f"{plan.model} has no split of two to eight stages under {plan.planned_for.words} with cuts in captured "
            f"order, and in {path} such cuts are moved; leave it out"
        )
    return optimizer.what_if.what_if_page(costs, *optimizer.what_if.shown_first(costs, plan))


def _next(plan: Plan, options: PlanOptions, typed: Sequence[str]) -> str:
    """Return what to type next: to run the plan where it was kept, else to compare splits."""
    if options.output and options.output.suffix != LIST:
        return command("run", plan=options.output, config=options.config)
    schedule = plan.planned_for.name if plan.planned_for.name != PLAIN_1F1B.name else None
    return again("compare", typed, schedule=schedule)


def _models(options: PlanOptions) -> "Iterator[Models]":
    """Yield what plans for each model in the models that are asked for."""
    network = read_json(options.links, NetworkProfile) if options.links else None
    plain_only = "" if options.method == EXACT else f"--method {options.method}"
    if options.output and options.output.suffix == LIST:
        plain_only = plain_only or f"-o {options.output}, a list of layers,"
    for profile, config, profile_of in _profiles(options):
        stages = options.stages or (len(network.ranks) if network else config.stages)
        request = model_request(config.slice, config.precision, cut_after=options.cut_after, plain_only=plain_only)
        planner = partial(
            optimizer.planning.Planner,
            stages=stages,
            minibatches=config.minibatches,
            pace=options.pace(stages),
            memory_limit_bytes=options.memory_limit_bytes,
            network=network,
        )
        yield optimizer.planning.models_of(profile, planner, request, profile_of)


def _profiles(options: PlanOptions) -> "list[tuple[Profile, Config, ProfileOf]]":
    """Return each profile to plan for, with what gives those of other models: nothing does for one that is named."""
    if options.profile:
        profile = read_json(options.profile, Profile)
        changes = {key: getattr(options, key) for key in ("batches", "cores", "precision", "slice")}
        config = configuration.override(configuration.for_model(profile.model), changes)
        form_named(config.slice, config.precision)
        _refuse_others(profile, options)
        for warning in profile_warnings(profile):
            note(f"{options.profile}: {warning}")
        _refuse_elsewhere(profile, options)
        return [(profile, config, lambda _form: None)]
    wanted = configs(options)
    for flag, path in (("-o", options.output), ("--plot", options.plot)):
        if path and len(wanted) > 1:
            raise ConfigError(f"{path} is one file for {len(wanted)} plans; name one model, or give no {flag}")
    others = profiles_of_forms if not options.links else lambda _config: lambda _form: None
    return [(fresh_profile(config, named_base(config)), config, others(config)) for config in wanted]


def _refuse_elsewhere(profile: Profile, options: PlanOptions) -> None:
    """Refuse a profile whose times are not those of this machine unless told otherwise, and say what differs."""
    differing = differences(profile.machine, this_machine())
    said = f"{options.profile} was measured elsewhere: {'; '.join(differing)}"
    if differing and not options.any_machine:
        kept = str(options.profile) if str(options.profile).endswith(".json") else None
        here = again("profile", profile.typed, o=kept)
        raise OptimizerError(f"{said}; profile {profile.model} here with {here}, or add --any-machine")
    if differing:
        note(said)


def _refuse_others(profile: Profile, options: PlanOptions) -> None:
    """Refuse options that contradict the profile that was named."""
    if options.config:
        raise ConfigError("--profile and --config cannot stand together; the profile is of one model and batch")
    if options.model and options.model != (profile.model,):
        raise OptimizerError(f"{options.profile} is a profile of {profile.model}; leave out --model {options.model[0]}")
    sizes = (
        ("--batch-size", options.batch_size, profile.batch_size),
        ("--image-size", options.image_size, profile.input_shape[-1]),
        ("--sample-shape", options.sample_shape, profile.input_shape[1:]),
        ("--vocabulary", options.vocabulary, profile.vocabulary),
        ("--slice", options.slice if profile.slicing else None, profile.slicing),
        ("--precision", None if options.precision == AUTO else options.precision, profile.precision),
    )
    for flag, wanted, own in sizes:
        if wanted is not None and wanted != own:
            raise OptimizerError(f"{options.profile} was measured with {flag} {own}; leave out {flag} {wanted}")
