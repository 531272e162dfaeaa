"""``python -m runtime compare``: run partitions in turn, keep each run, and report."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import optimizer.planning
import profiler.capture
import profiler.machine
import runtime.baselines
import runtime.compare
import runtime.pipeline
import runtime.report
import runtime.supervisor
from optimizer.plan import Plan, scheduled
from optimizer.planning import LOWERED, SLICED, Schemes, load_schemes
from optimizer.schedule import schedule_of
from profiler.cli import Parser, configs, emit_json, note, positive, screen, stdout
from profiler.errors import ConfigError
from profiler.files import refuse_unwritable
from profiler.measure import path_for
from profiler.profile import BF16, FP32
from profiler.settings import Config
from runtime.baselines import BaselineChoice
from runtime.cli.carry_out import Job, carry_out, write
from runtime.cli.options import (
    RunningOptions,
    add_clock,
    add_running,
    clock_of,
    settings_of,
)
from runtime.cli.plans import planned_forms, plans_of, wanted_names
from runtime.cluster import refuse_ranks
from runtime.results import Clock

if TYPE_CHECKING:
    from optimizer.planning import Forms
    from runtime.compare import Comparison, OneCore, Request

RESULTS = Path("results")
FILE = "comparison.json"
AUDITED_SPLITS = 10
QUICK_BATCHES = 6
FAILED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """The options of ``compare``.

    Attributes:
        partitions: Which to run; None: as configured.
        out: The folder of what is written.
        clock: By which clock; None: the virtual one where stages share cores.
        baselines: Which of what one would run instead to run, too; ``audit``, whether to run evenly spaced splits.
        full: Whether whoever cannot be the fastest any more runs on.
        quick: Whether a short version will do; ``fresh``, whether to measure what is there already.
    """

    running: RunningOptions
    clock: Clock | None
    partitions: tuple[str, ...] | None
    out: Path | None
    baselines: BaselineChoice
    audit: bool
    full: bool
    quick: bool
    fresh: bool


def add_arguments(command: Parser) -> None:
    """Add the command's own options."""
    command.add_argument(
        "--partitions", type=lambda text: tuple(text.split(",")), metavar="P,…",
        help="optimized, sliced, bf16, schemes by name, study, or all (default: as configured)",
    )  # fmt: skip
    command.add_argument(
        "--repeats", type=positive, metavar="N", help="rounds: runs of each partition that may still be the fastest"
    )
    command.add_argument("--full", action="store_true", help="run every partition in every round")
    command.add_argument(
        "--out", type=Path, metavar="DIR",
        help="folder of comparison.json, report.html and report.md; each of several comparisons has one below it "
        "(default: results/)",
    )  # fmt: skip
    command.add_argument(
        "--baselines", nargs="?", choices=("threads", "all"), const="all", default="none",
        help="run what one would run instead, too: one process with threads, or all there is (default: all)",
    )  # fmt: skip
    command.add_argument(
        "--audit", action="store_true", help="let evenly spaced splits join until there are ten distinct ones"
    )
    command.add_argument(
        "--quick", action="store_true", help="a short version: one round of few minibatches at the smallest batch size"
    )
    add_clock(command)
    command.add_argument("--fresh", action="store_true", help="measure anew what is there already")
    add_running(command, on_nan="warn")


def compare_all(options: CompareOptions) -> int:
    """Compare the partitions of every model and batch size that is named."""
    refuse_ranks("compare")
    runtime.supervisor.expect_stages()
    schemes = load_schemes()
    common = options.running.common
    wanted = _quick(configs(common), options) if options.quick else configs(common)
    requests = [_request(options, config, schemes) for config in wanted]
    profiler.capture.refuse_unknown(dict.fromkeys(config.model for config in wanted))
    profiler.machine.usable_cores(wanted[0].cores)
    paths = [_place(options, config, len(wanted)) for config in wanted]
    reports = _reports(options, paths)
    for path in (*paths, *reports):
        refuse_unwritable(path)
    jobs = [
        _job(options, config, request, path, schemes)
        for config, request, path in zip(wanted, requests, paths, strict=True)
    ]
    try:
        carry_out(jobs, reports, options.running, fresh=options.fresh)
    except KeyboardInterrupt:  # which leaves the best answer so far
        if (begun := [job for job in jobs if job.comparison.runs]) and not common.json:
            _conclude(begun, reports, options)
        raise
    return _conclude(jobs, reports, options)


def compare_one(options: CompareOptions, config: Config, path: Path) -> "Comparison":
    """Make one comparison and return it; what is known so far is kept in ``path``."""
    schemes = load_schemes()
    jobs = [_job(options, config, _request(options, config, schemes), path, schemes)]
    carry_out(jobs, [], options.running, fresh=options.fresh)
    return jobs[0].comparison


def _quick(wanted: list[Config], options: CompareOptions) -> list[Config]:
    """Return a short version: each model's smallest batch size, a round of few minibatches, or what is typed."""
    smallest = {config.name: config.batch_size for config in sorted(wanted, key=lambda config: -config.batch_size)}
    return [
        replace(
            config,
            batches=options.running.common.batches or min(config.minibatches, QUICK_BATCHES),
            repeats=options.running.common.repeats or 1,
        )
        for config in wanted
        if config.batch_size == smallest[config.name]
    ]


def _request(options: CompareOptions, config: Config, schemes: Schemes) -> "Request":
    settings = settings_of(options.running, config)
    cores = runtime.pipeline.cores_for(config.stages, profiler.machine.usable_cores(config.cores))
    if options.baselines != "none" and settings.data:
        raise ConfigError("--baselines train on synthetic data; leave --data out")
    if options.baselines != "none" and (config.rule.clip or config.rule.clip_norm or config.loss):
        raise ConfigError("--baselines train for cross-entropy and clip no gradients; leave loss, clip and clip_norm "
                          "out of the configuration")  # fmt: skip
    asked = tuple(wanted_names(list(options.partitions or config.partitions), config, schemes))
    if options.baselines == "all" and set(asked) <= {SLICED, LOWERED}:
        raise ConfigError("torch's pipeline cannot cut layers inside; add optimized to --partitions for --baselines")
    return runtime.compare.Request(
        model=config.name,
        batch_size=config.batch_size,
        input_shape=config.input_shape,
        minibatches=config.batches or 0,
        num_stages=config.stages,
        cores=cores,
        schedule=settings.pace.name,
        update_every=settings.pace.update_every,
        channel=settings.channel,
        rule=settings.rule,
        data=settings.data,
        loss=config.loss,
        slice=config.slice,
        precision=config.precision,
        asked=asked,
        distinct_splits=AUDITED_SPLITS if options.audit else 0,
        repeats=config.repeats,
        full=options.full or config.full,
        baselines=options.baselines,
    )


def _place(options: CompareOptions, config: Config, comparisons: int) -> Path:
    if options.out is not None and comparisons == 1:
        return options.out / FILE
    return _folder(options) / f"{path_for(config).stem}-s{config.stages}" / FILE


def _folder(options: CompareOptions) -> Path:
    return options.out or (RESULTS / "quick" if options.quick else RESULTS)


def _reports(options: CompareOptions, paths: list[Path]) -> list[Path]:
    folder = paths[0].parent if len(paths) == 1 else _folder(options)
    return [folder / "report.html", folder / "report.md"]


def _job(options: CompareOptions, config: Config, request: "Request", path: Path, schemes: Schemes) -> Job:
    """Take up the comparison that is kept, or begin one."""
    clock = clock_of(options.clock, options.running, request.cores)
    held = runtime.compare.find_comparison(
        path, request, clock, fresh=options.fresh, digest=lambda: profiler.capture.captured_model(config).digest
    )
    found = held.comparison
    if found is None:
        return Job(config, path, _begun(options, config, request, clock, schemes), held.reason)
    if found.complete:
        text = f"{path} is that very comparison, of {found.began_at}; --fresh measures anew"
    else:
        text = f"going on with {path}: {found.rounds} of {found.request.repeats} rounds are done"
    note(text)
    return Job(config, path, found, "")


def _begun(options: CompareOptions, config: Config, request: "Request", clock: Clock, schemes: Schemes) -> "Comparison":
    """Return a comparison in which nothing has run yet: plan all partitions."""
    left_out: list[str] = []

    def report(sentence: str) -> None:
        left_out.append(sentence)
        note(sentence)

    told: list[str] = []
    forms = planned_forms(options.running, config, request.asked, told.append, quick=options.quick)
    for sentence in told:
        note(sentence)
    plans = plans_of(forms, list(request.asked), schemes, report)
    splits = {plan.split for plan in plans.values()}
    plans |= optimizer.planning.spaced_splits(forms.whole, request.distinct_splits, splits)
    plans = {name: _scheduled(plan, request, clock) for name, plan in plans.items()}
    baselines, without = runtime.baselines.baseline_rows(request.baselines, request.cores, request.update_every)
    if without:
        report(without)
    return runtime.compare.new_comparison(
        request,
        clock,
        plans,
        forms.whole.model,
        baselines=baselines,
        left_out=left_out,
        forms=" ".join(told),
        one_core=_one_core(forms),
    )


def _scheduled(plan: Plan, request: "Request", clock: Clock) -> Plan:
    """Return a plan under the schedule of its runs, which last for as long as was asked for."""
    every = request.update_every
    minibatches = request.minibatches or runtime.compare.run_length(
        plan, every, clock, runtime.pipeline.core_count(request.cores)
    )
    return scheduled(plan, schedule_of(request.schedule, request.num_stages, minibatches, every))


def _one_core(forms: "Forms") -> "OneCore":
    """Return the whole model on one core, as yet only profiled, in the faster precision of those that are known."""
    models = [planner.model for planner in (forms.whole, forms.lowered) if planner]
    fastest = min(models, key=lambda model: model.whole_step_s)
    return runtime.compare.OneCore(
        profiled_s=fastest.whole_step_s, precision=BF16 if fastest.form.precision.lowered else FP32
    )


def _conclude(jobs: list[Job], reports: list[Path], options: CompareOptions) -> int:
    """Show and keep what was found."""
    comparisons = [job.comparison for job in jobs]
    if options.running.common.json:
        emit_json(comparisons)
    for job in jobs:
        if not options.running.common.json and not screen().quiet:
            runtime.report.show_comparison(job.comparison, stdout())
        note(f"{job.config.name}: kept in {job.path}")
    write(jobs, reports)
    note(f"the report is {reports[0]}, and as text {reports[1]}")
    return FAILED if any(run.failure is not None for job in jobs for run in job.comparison.runs) else 0
