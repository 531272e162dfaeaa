"""``python -m runtime compare``: run partitions in turn, keep each run, and report."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from optimizer.plan import Plan, scheduled
from optimizer.planning import OPTIMIZED, Schemes, load_schemes, partition_names
from optimizer.schedule import flush_width, schedule_of
from profiler.cli import STAGES, configs, emit_json, note, stdout
from profiler.errors import ConfigError
from profiler.files import refuse_unwritable, to_json, write_whole
from profiler.measure import path_for
from profiler.report import counted
from profiler.settings import Config
from runtime.cli.options import cores_of, launcher_of, planner_of, plans_of, pool_of, settings_of

if TYPE_CHECKING:
    from runtime.compare import Comparison, Request
    from runtime.supervisor import WorkerPool

RESULTS = Path("results")
FILE = "comparison.json"
AUDITED_SPLITS = 10
QUICK_BATCHES = 6
FAILED = 1


@dataclass(frozen=True, slots=True)
class _Job:
    """One comparison: what it is about, where to keep it, and what is known of it.

    Attributes:
        in_the_way: Why what lies in ``path`` is another comparison; nothing where that is not so.
    """

    config: Config
    path: Path
    comparison: "Comparison"
    in_the_way: str


def compare_all(options: argparse.Namespace) -> int:
    """Compare the partitions of every model and batch size that is named."""
    from profiler.capture import refuse_unknown
    from profiler.machine import usable_cores

    schemes = load_schemes()
    wanted = _quick(configs(options), options) if options.quick else configs(options)
    requests = [_request(options, config, schemes) for config in wanted]
    refuse_unknown(dict.fromkeys(config.model for config in wanted))
    usable_cores(options.cores)
    paths = [_place(options, config, len(wanted)) for config in wanted]
    reports = _reports(options, paths)
    for path in (*paths, *reports):
        refuse_unwritable(path)
    jobs = [
        _job(options, config, request, path, schemes)
        for config, request, path in zip(wanted, requests, paths, strict=True)
    ]
    jobs = _carry_out_all(jobs, options)
    return _conclude(jobs, reports, options)


def _quick(wanted: list[Config], options: argparse.Namespace) -> list[Config]:
    """Return a short version: each model's smallest batch size, a round of few minibatches, or what is typed."""
    smallest = {config.model: config.batch_size for config in sorted(wanted, key=lambda config: -config.batch_size)}
    return [
        replace(
            config,
            batches=options.batches or min(config.batches, QUICK_BATCHES),
            repeats=options.repeats or 1,
        )
        for config in wanted
        if config.batch_size == smallest[config.model]
    ]


def _request(options: argparse.Namespace, config: Config, schemes: Schemes) -> "Request":
    from profiler.machine import usable_cores
    from runtime.compare import Request
    from runtime.pipeline import cores_for

    settings = settings_of(options, config)
    stages = options.stages or STAGES
    given = options.partitions.split(",") if options.partitions else [OPTIMIZED, *config.schemes]
    cores = cores_for(stages, usable_cores(options.cores))
    if options.baselines and settings.data:
        raise ConfigError("--baselines train on synthetic data; leave --data out")
    return Request(
        model=config.model,
        batch_size=config.batch_size,
        input_shape=config.input_shape,
        minibatches=config.batches,
        num_stages=stages,
        cores=cores,
        schedule=settings.schedule,
        flush_every=flush_width(settings.schedule, settings.flush_every),
        channel=settings.channel,
        rule=settings.rule,
        data=settings.data,
        asked=tuple(partition_names(given, schemes)),
        distinct_splits=AUDITED_SPLITS if options.audit else 0,
        repeats=config.repeats,
        baselines=options.baselines,
    )


def _place(options: argparse.Namespace, config: Config, comparisons: int) -> Path:
    out: Path | None = options.out
    if out is not None and comparisons == 1:
        return out / FILE
    return _folder(options) / f"{path_for(config).stem}-s{options.stages or STAGES}" / FILE


def _folder(options: argparse.Namespace) -> Path:
    out: Path | None = options.out
    return out or (RESULTS / "quick" if options.quick else RESULTS)


def _reports(options: argparse.Namespace, paths: list[Path]) -> list[Path]:
    folder = paths[0].parent if len(paths) == 1 else _folder(options)
    return [folder / "report.html", folder / "report.md"]


def _job(options: argparse.Namespace, config: Config, request: "Request", path: Path, schemes: Schemes) -> _Job:
    """Take up the comparison that is kept, or begin one."""
    from profiler.capture import captured_model
    from runtime.compare import find_comparison

    held = find_comparison(path, request, fresh=options.fresh, digest=lambda: captured_model(config).digest)
    found = held.comparison
    if found is None:
        return _Job(config, path, _begun(options, config, request, schemes), held.reason)
    if found.complete:
        text = f"{path} is that very comparison, of {found.began_at}; --fresh measures anew"
    else:
        text = f"going on with {path}: {found.rounds} of {found.repeats} rounds are done"
    note(text, quiet=options.quiet)
    return _Job(config, path, found, "")


def _begun(options: argparse.Namespace, config: Config, request: "Request", schemes: Schemes) -> "Comparison":
    """Return a comparison in which nothing has run yet: plan all partitions."""
    from optimizer.planning import spaced_splits
    from runtime.compare import Baselines, new_comparison

    planner = planner_of(options, config)
    left_out: list[str] = []

    def report(sentence: str) -> None:
        left_out.append(sentence)
        note(sentence, quiet=options.quiet)

    plans = plans_of(options, config, list(request.asked), schemes, planner=planner, report=report)
    known = {plan.split for plan in plans.values()}
    plans |= spaced_splits(planner, request.distinct_splits, known)
    schedule = schedule_of(request.schedule, request.num_stages, request.minibatches, request.flush_every or 1)
    plans = {name: scheduled(plan, schedule) for name, plan in plans.items()}
    baselines = Baselines(config, _reference(plans), request.cores).rows if request.baselines else ()
    return new_comparison(request, plans, planner.profile, baselines, left_out)


def _reference(plans: Mapping[str, Plan]) -> Plan:
    return plans.get(OPTIMIZED) or next(iter(plans.values()))


def _carry_out_all(jobs: list[_Job], options: argparse.Namespace) -> list[_Job]:
    """Do what is missing, one comparison after the other."""
    from runtime.compare import duration, left, steps

    missing = sum(sum(1 for _ in steps(job.comparison)) for job in jobs)
    if not missing:
        return jobs
    cores = cores_of(options, options.stages or STAGES)
    about = duration(sum(left(job.comparison) for job in jobs))
    note(
        f"{counted(missing, 'run')} on cores {','.join(map(str, cores))}, about {about}; Ctrl-C stops, and the same "
        f"command goes on{', without --fresh' if options.fresh else ''}",
        quiet=options.quiet,
    )
    with pool_of(options, cores) as pool:
        return [
            replace(job, comparison=_carry_out(job, pool, options, sum(left(one.comparison) for one in jobs[at:])))
            for at, job in enumerate(jobs, 1)
        ]


def _carry_out(job: _Job, pool: "WorkerPool", options: argparse.Namespace, later_s: float) -> "Comparison":
    """Do what is missing of one comparison; others take about ``later_s`` after it."""
    from runtime.compare import Baselines, command_line, compare, set_aside, steps
    from runtime.report import live_progress

    comparison, config = job.comparison, job.config
    if not any(steps(comparison)):
        return comparison
    comparison = replace(comparison, command=command_line())
    plans = {part.name: part.plan for part in comparison.partitions}
    baselines: Baselines | None = (
        Baselines(config, _reference(plans), comparison.cores) if comparison.baselines else None
    )
    in_the_way = job.in_the_way

    def save(found: "Comparison") -> None:
        nonlocal in_the_way
        if in_the_way:
            free = set_aside(job.path)
            note(f"what was in {job.path} is now in {free.name}: {in_the_way}", quiet=options.quiet)
            in_the_way = ""
        write_whole(job.path, to_json(found))

    with (
        launcher_of(options, config, pool, settings_of(options, config)) as launcher,
        live_progress(quiet=options.quiet, later_s=later_s) as watch,
    ):
        if launcher.captured.digest != comparison.model_digest:
            raise ConfigError(f"{config.model} has changed since {job.path} was begun; measure it anew with --fresh")
        return compare(comparison, launcher, baselines, save, watch)


def _conclude(jobs: list[_Job], reports: list[Path], options: argparse.Namespace) -> int:
    """Show and keep what was found."""
    from runtime.report import show_comparison, write_reports

    comparisons = [job.comparison for job in jobs]
    if options.json:
        emit_json(comparisons)
    for job in jobs:
        if not options.json and not options.quiet:
            show_comparison(job.comparison, stdout())
        note(f"{job.config.model}: kept in {job.path}", quiet=options.quiet)
    write_reports(comparisons, reports)
    note(f"the report is {reports[0]}, and as text {reports[1]}", quiet=options.quiet)
    return FAILED if any(run.failure is not None for job in jobs for run in job.comparison.runs) else 0
