"""``python -m optimizer``: the best split of a model into stages, beside the schemes."""

import argparse
from pathlib import Path

from optimizer.errors import OptimizerError
from optimizer.partitions import OPTIMIZED, plan_for, plans_for
from optimizer.schemes import load_schemes
from profiler import config as configuration
from profiler.command import (
    STAGES,
    Parser,
    add_common,
    add_models,
    configs,
    emit_json,
    execute,
    fresh_profile,
    note,
    positive,
    stdout,
)
from profiler.config import suggest
from profiler.doubts import doubts
from profiler.errors import ConfigError
from profiler.files import refuse_unwritable, to_json, write_whole
from profiler.provenance import differences, machine
from profiler.types import Profile

EXACT = "exact"


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = Parser(prog="python -m optimizer", description="Find the best split of a model into pipeline stages.")
    add_models(parser, "torchvision model, or package.module:factory")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="plan for this profile instead of a fresh one")
    parser.add_argument(
        "--method", default=EXACT, metavar="M", help=f"{EXACT}, or the name of a scheme (default: {EXACT})"
    )
    parser.add_argument("--any-machine", action="store_true", help="plan for --profile wherever it was measured")
    parser.add_argument(
        "--beside-neighbours", action="store_true", help="plan with the times that were measured beside busy cores"
    )
    parser.add_argument("--batches", type=positive, metavar="N", help="minibatches that the predictions are for")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the plan here")
    add_common(parser)
    return execute(parser, _run, argv)


def _run(options: argparse.Namespace) -> int:
    from optimizer.contention import beside_neighbours
    from optimizer.planner import Planner
    from optimizer.table import show_partitions, show_plan

    schemes = load_schemes()
    methods = {EXACT: OPTIMIZED} | {name: name for name in schemes}
    if options.method not in methods:
        hint = suggest(options.method, methods)
        raise OptimizerError(f"there is no method '{options.method}'{hint}; known: {', '.join(methods)}")
    if options.output:
        refuse_unwritable(options.output)
    printed = []
    for found, minibatches in _profiles(options):
        profile = beside_neighbours(found) if options.beside_neighbours else found
        planner = Planner(profile, options.stages or STAGES, minibatches)
        name = methods[options.method]
        plans = plans_for((OPTIMIZED, *schemes), planner, schemes, lambda sentence: note(sentence, quiet=options.quiet))
        plan = plans[name] if name in plans else plan_for(name, planner, schemes)  # which says why there is none
        if options.output:
            write_whole(options.output, to_json(plan))
            note(f"{profile.model}: plan written to {options.output}", quiet=options.quiet)
        if options.json:
            printed.append(plan)
        elif not options.quiet:
            console = stdout()
            show_plan(plan, profile, console)
            show_partitions(plans, profile, console)
    emit_json(printed)
    return 0


def _profiles(options: argparse.Namespace) -> list[tuple[Profile, int]]:
    if options.profile:
        from profiler.formats import read_profile

        profile = read_profile(options.profile, options.batch_size)
        config = configuration.override(configuration.for_model(profile.model), {"batches": options.batches})
        _refuse_others(profile, options)
        for doubt in doubts(profile):
            note(f"{options.profile}: {doubt}", quiet=options.quiet)
        if not options.any_machine:
            _refuse_elsewhere(profile, options.profile)
        return [(profile, config.batches)]
    if options.beside_neighbours:
        raise ConfigError("--beside-neighbours needs a profile that was measured so; name it with --profile FILE")
    wanted = configs(options)
    if options.output and len(wanted) > 1:
        raise ConfigError(f"{options.output} is one file for {len(wanted)} plans; name one model, or give no -o")
    from profiler.process import usable_cores

    core = usable_cores(options.cores)[0]
    return [(fresh_profile(config, core, quiet=options.quiet), config.batches) for config in wanted]


def _refuse_elsewhere(profile: Profile, path: Path) -> None:
    """Refuse a profile whose times are not those of this machine, and say what differs."""
    from profiler.pipedream import UNKNOWN

    found = differences(profile.machine, machine()) if profile.machine.cpu != UNKNOWN else []
    if found:
        raise OptimizerError(
            f"{path} was measured elsewhere: {'; '.join(found)}; profile {profile.model} here, or add --any-machine"
        )


def _refuse_others(profile: Profile, options: argparse.Namespace) -> None:
    """Refuse options that contradict the profile that was named."""
    if options.config:
        raise ConfigError("--profile and --config cannot stand together; the profile is of one model and batch")
    if options.model and options.model != [profile.model]:
        raise OptimizerError(f"{options.profile} is a profile of {profile.model}; leave out --model {options.model[0]}")
    sizes = (
        ("--batch-size", options.batch_size, profile.batch_size),
        ("--image-size", options.image_size, profile.input_shape[-1]),
        ("--sample-shape", options.sample_shape, profile.input_shape[1:]),
        ("--vocabulary", options.vocabulary, profile.vocabulary),
    )
    for flag, wanted, found in sizes:
        if wanted is not None and wanted != found:
            raise OptimizerError(f"{options.profile} was measured with {flag} {found}; leave out {flag} {wanted}")
