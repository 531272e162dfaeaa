"""``python -m runtime``: run plans in a real pipeline and compare partitions."""

import argparse
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from optimizer.partitions import OPTIMIZED, distinct, partition_names, plans_for
from optimizer.schemes import Schemes, load_schemes
from optimizer.types import Plan
from profiler import config as configuration
from profiler.command import (
    STAGES,
    Parser,
    add_common,
    add_models,
    configs,
    counted,
    emit_json,
    execute,
    fresh_profile,
    note,
    positive,
    progress,
    stdout,
)
from profiler.config import Config
from profiler.errors import ConfigError
from profiler.files import read_json, refuse_unwritable, to_json, write_whole
from profiler.store import path_for
from runtime.types import Comparison

if TYPE_CHECKING:
    from runtime.pool import WorkerPool

RESULTS = Path("results")
FILE = "comparison.json"
HAND_OVER_S = 1.5
"""Roughly what handing a model over and warming up takes; only the announced duration depends on it."""


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = Parser(prog="python -m runtime", description="Train a model in a pipeline of one-core stages.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="compare | run", parser_class=Parser)
    both = commands.add_parser("compare", help="run partitions in turn and compare them")
    both.add_argument("--partitions", metavar="P,…", help="optimized, schemes by name, or all (default: as configured)")
    both.add_argument("--repeats", type=positive, metavar="N", help="runs of each partition")
    both.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"folder of {FILE}; one below it for each of several models (default: {RESULTS}/)",
    )
    one = commands.add_parser("run", help="run one plan")
    one.add_argument("--plan", type=Path, metavar="FILE", help="plan that python -m optimizer -o wrote")
    one.add_argument("--partition", metavar="P", help=f"partition of --model (default: {OPTIMIZED})")
    one.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the run's result here")
    for command, function in ((both, _compare), (one, _run)):
        add_models(command, "torchvision model, or package.module:factory")
        command.add_argument("--batches", type=positive, metavar="N", help="minibatches of a run")
        add_common(command)
        command.set_defaults(function=function)
    return execute(parser, lambda options: int(options.function(options)), argv)


@dataclass(frozen=True, slots=True)
class _Job:
    """One comparison: what to run and where to keep it."""

    config: Config
    plans: dict[str, Plan]
    path: Path


def _compare(options: argparse.Namespace) -> int:
    schemes = load_schemes()
    wanted = configs(options)
    names = {config.model: _names(options.partitions, config, schemes) for config in wanted}
    from profiler.process import usable_cores
    from runtime.launcher import cores_for
    from runtime.pool import WorkerPool

    usable = usable_cores(options.cores)
    paths = [_place(options.out, config, options.stages or STAGES, len(wanted)) for config in wanted]
    for path in paths:
        refuse_unwritable(path)
    jobs, printed = [], []
    for config, path in zip(wanted, paths, strict=True):
        plans = _plans(config, options, usable[0], names[config.model], schemes)
        jobs.append(_Job(config, plans, path))
    cores = cores_for(options.stages or STAGES, usable)
    _announce(jobs, cores, quiet=options.quiet)
    with WorkerPool(cores) as pool:
        for job in jobs:
            comparison = _carry_out(job, pool, quiet=options.quiet)
            if options.json:
                printed.append(comparison)
            elif not options.quiet:
                from runtime.table import show_comparison

                show_comparison(comparison, stdout())
            note(f"{job.config.model}: kept in {job.path}", quiet=options.quiet)
    emit_json(printed)
    return 0


def _names(given: str | None, config: Config, schemes: Schemes) -> list[str]:
    return partition_names(given.split(",") if given else [OPTIMIZED, *config.schemes], schemes)


def _plans(
    config: Config, options: argparse.Namespace, core: int, names: list[str], schemes: Schemes
) -> dict[str, Plan]:
    from optimizer.planner import Planner

    profile = fresh_profile(config, core, quiet=options.quiet)
    planner = Planner(profile, options.stages or STAGES, config.batches)
    found = plans_for(names, planner, schemes, lambda sentence: note(sentence, quiet=options.quiet))
    if not found:
        raise ConfigError(f"{config.model} allows none of {', '.join(names)}; use fewer --stages")
    return found


def _place(out: Path | None, config: Config, stages: int, models: int) -> Path:
    if out is not None and models == 1:
        return out / FILE
    return (out or RESULTS) / f"{path_for(config).stem}-s{stages}" / FILE


def _announce(jobs: list[_Job], cores: tuple[int, ...], *, quiet: bool) -> None:
    from runtime.launcher import comparable
    from runtime.verdict import sharing

    runs, seconds = 0, 0.0
    for job in jobs:
        for index in set(distinct(list(job.plans.values()))):
            plan = list(job.plans.values())[index]
            work_s = sum(stage.total_s for stage in plan.stages) * job.config.batches / len(set(cores))
            seconds += job.config.repeats * (max(work_s, plan.predicted.makespan_s) + HAND_OVER_S)
            runs += job.config.repeats
    note(
        f"{counted(runs, 'run')} on cores {','.join(map(str, cores))}, about {max(1, round(seconds / 60))} min",
        quiet=quiet,
    )
    if not comparable(cores):
        note(sharing(len(cores), len(set(cores))), quiet=quiet)


def _carry_out(job: _Job, pool: "WorkerPool", *, quiet: bool) -> Comparison:
    from profiler.update import UpdateRule
    from profiler.workload import SEED, captured_model
    from runtime.compare import compare
    from runtime.launcher import Launcher

    config = job.config
    runs = config.repeats * len(set(distinct(list(job.plans.values()))))
    rule = UpdateRule(config.lr, config.momentum)
    with (
        closing(Launcher(captured_model(config), pool, rule, SEED)) as launcher,
        progress(config.model, runs, quiet=quiet) as advance,
    ):
        return compare(
            job.plans,
            launcher,
            config,
            lambda found: write_whole(job.path, to_json(found)),
            lambda name: advance(1, name),
        )


def _run(options: argparse.Namespace) -> int:
    from profiler.process import usable_cores
    from profiler.update import UpdateRule
    from profiler.workload import SEED, captured_model
    from runtime.launcher import Launcher, cores_for
    from runtime.pool import WorkerPool
    from runtime.table import show_run

    if options.output:
        refuse_unwritable(options.output)
    usable = usable_cores(options.cores)
    config, plan = _one_plan(options, usable[0])
    captured = captured_model(config)
    cores = cores_for(len(plan.stages), usable)
    work = f"{counted(len(cores), 'stage')} on cores {','.join(map(str, cores))}"
    note(f"{plan.model}: {counted(config.batches, 'minibatch')} through {work}", quiet=options.quiet)
    rule = UpdateRule(config.lr, config.momentum)
    with WorkerPool(cores) as pool, closing(Launcher(captured, pool, rule, SEED)) as launcher:
        result = launcher.run(plan, config.batches)
    if options.output:
        write_whole(options.output, to_json(result))
        note(f"kept in {options.output}", quiet=options.quiet)
    if options.json:
        emit_json([result])
    elif not options.quiet:
        show_run(result, stdout())
    return 0


def _one_plan(options: argparse.Namespace, core: int) -> tuple[Config, Plan]:
    """Return the plan to run and the configuration that goes with it.

    Raises:
        ConfigError: Not exactly one plan is named.
    """
    if options.plan:
        if options.model or options.config or options.partition or _sizes(options):
            raise ConfigError(
                "--plan names model, batch and split; leave out --model, --config, --partition and the sizes"
            )
        plan = read_json(options.plan, Plan)
        if options.stages not in (None, len(plan.stages)):
            raise ConfigError(
                f"{options.plan} has {counted(len(plan.stages), 'stage')}; leave out --stages {options.stages}"
            )
        config = configuration.override(
            configuration.for_model(plan.model),
            {
                "batch_size": plan.batch_size,
                "sample_shape": plan.input_shape[1:],
                "vocabulary": plan.vocabulary or None,
                "batches": options.batches,
            },
        )
        return config, _predicted_for(plan, config.batches)
    if not options.model and not options.config:
        raise ConfigError("nothing to run is named; add --plan plan.json, or --model resnet50, say")
    wanted = configs(options)
    if len(wanted) > 1:
        raise ConfigError("run takes one model; compare takes several")
    schemes = load_schemes()
    names = partition_names([options.partition or OPTIMIZED], schemes)
    if len(names) > 1:
        raise ConfigError("run takes one partition; compare takes several")
    return wanted[0], _plans(wanted[0], options, core, names, schemes)[names[0]]


def _sizes(options: argparse.Namespace) -> bool:
    return any((options.batch_size, options.image_size, options.sample_shape, options.vocabulary))


def _predicted_for(plan: Plan, minibatches: int) -> Plan:
    from optimizer.assemble import predict

    return replace(plan, predicted=predict(plan.stages, plan.batch_size, minibatches))
