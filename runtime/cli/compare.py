"""``python -m runtime compare``: run partitions in turn, keep each run, and report."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import profiler.capture
import profiler.machine
import runtime.compare
import runtime.report
from profiler.cli import configs, emit_json, option, path_for, positive, quiet, stdout, switch
from profiler.commands import command
from profiler.errors import ConfigError, StageplanError
from profiler.files import to_json, write_whole
from profiler.output_files import refuse_unwritable
from profiler.settings import Config
from runtime.cli.options import ClockOption, RunningOptions, refuse_clock, settings_of
from runtime.hosts import placement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.compare import Comparison, Job

RESULTS = Path("results")
FILE, PLAN = "comparison.json", "fastest-plan.json"
QUICK_BATCHES = 6
FAILED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions(RunningOptions):
    """The options of ``compare``."""

    partitions: Annotated[
        tuple[str, ...] | None,
        option(
            "optimized, sliced, bf16, study, a scheme, … (all)",
            under="split",
            type=lambda text: tuple(text.split(",")),
            metavar="P,…",
        ),
    ] = None
    repeats: Annotated[int | None, option("rounds; clear losers drop out (3)", type=positive, metavar="N")] = None
    full: Annotated[bool | None, option("keep clear losers in every round", action="store_true")] = None
    out: Annotated[
        Path | None, option("folder of the results (results/)", under="output", type=Path, metavar="DIR")
    ] = None
    quick: Annotated[bool, switch("one short round, of the smallest batch size")] = False
    clock: ClockOption = None
    fresh: Annotated[bool, switch("ignore what was measured before")] = False


def compare_all(options: CompareOptions) -> int:
    """Compare the partitions of every model and batch size that is named."""
    if placement() is not None:
        raise ConfigError("compare starts its own processes; call it without torchrun, or use run or verify")
    profiler.machine.expect_processes()
    wanted = _quick(configs(options), options) if options.quick else configs(options)
    refuse_clock(options.clock, options)
    places = [_place(options, config, len(wanted)) for config in wanted]
    settings = [settings_of(options, config) for config in wanted]
    requests = [runtime.compare.request_of(*given) for given in zip(wanted, settings, strict=True)]
    profiler.capture.refuse_unknown(dict.fromkeys(config.model for config in wanted))
    report = _report(options, places)
    for path in places:
        refuse_unwritable(path, None, "--out")  # what is there is set aside
        refuse_unwritable(path.with_name(PLAN), "plan", "--out")
    refuse_unwritable(report, "page", "--out")
    begun: list[Job] = []
    alone = report if len(wanted) == 1 else None
    shown = 0
    try:
        for given in zip(wanted, settings, places, requests, strict=True):
            job = runtime.compare.job_of(
                *given, clock=options.clock, fresh=options.fresh, quick=options.quick, budget_s=options.budget_s
            )
            begun.append(job)
            runtime.compare.carry_out(
                job, options.stall_timeout_s, seen=partial(_seen, begun, report), fresh=options.fresh
            )
            _show(begun[-1], options, alone)
            shown = len(begun)
    except (KeyboardInterrupt, StageplanError) as error:  # which leave the best answer so far
        if begun[shown:] and begun[-1].comparison.runs:
            _show(begun[-1], options, alone)
        if begun and not options.json:
            _conclude(begun, report, options)
        if isinstance(error, KeyboardInterrupt):
            error.add_note("paused, and nothing is left running; to resume, repeat the command without --fresh")
        raise
    return _conclude(begun, report, options)


def _seen(begun: "list[Job]", report: Path, latest: "Comparison") -> None:
    """Take in what is known of the comparison that was begun last, and after each round write the report."""
    before, begun[-1] = begun[-1], replace(begun[-1], comparison=latest)
    if latest.rounds > before.comparison.rounds:
        _write(begun, report)


def _write(begun: "Sequence[Job]", report: Path) -> None:
    runtime.report.write_report([job.comparison for job in begun if job.comparison.runs], report)


def _show(job: "Job", options: CompareOptions, report: Path | None) -> None:
    """Print a comparison; where it is the only one, with where the report is. Keep the plan of the fastest split."""
    then = _advice(job)
    if not options.json and not quiet():
        details = f"Details: {report}" if report else ""
        runtime.report.show_comparison(job.comparison, stdout(), [line for line in (details, then) if line])


def _advice(job: "Job") -> str:
    """Keep the plan of the fastest split beside its comparison, and return what to do."""
    best = next(iter(job.comparison.came_through), None)
    if best is None:
        return ""
    path = job.path.with_name(PLAN)
    write_whole(path, to_json(best.plan), "--out")
    typed = job.comparison.typed
    config = typed[typed.index("--config") + 1] if "--config" in typed else None
    data = None if config and job.config.data else job.config.data or "YOUR.MODULE:LOADER"
    return runtime.report.advice(job.comparison, command("train", plan=path, config=config, data=data))


def _quick(wanted: list[Config], options: CompareOptions) -> list[Config]:
    """Return a short version: each model's smallest batch size, a round of few minibatches, or what is typed."""
    smallest = {config.name: config.batch_size for config in sorted(wanted, key=lambda config: -config.batch_size)}
    return [
        replace(
            config,
            batches=options.batches or min(config.minibatches(), QUICK_BATCHES),
            repeats=options.repeats or 1,
        )
        for config in wanted
        if config.batch_size == smallest[config.name]
    ]


def _place(options: CompareOptions, config: Config, comparisons: int) -> Path:
    if options.out is not None and comparisons == 1:
        return options.out / FILE
    return _folder(options) / f"{path_for(config).stem}-s{config.stages}" / FILE


def _folder(options: CompareOptions) -> Path:
    return options.out or (RESULTS / "quick" if options.quick else RESULTS)


def _report(options: CompareOptions, paths: list[Path]) -> Path:
    return (paths[0].parent if len(paths) == 1 else _folder(options)) / "report.html"


def _conclude(begun: "list[Job]", report: Path, options: CompareOptions) -> int:
    """Write the report, print who leads where comparisons are several; return the exit code: 1 where a run failed."""
    ran = [job for job in begun if job.comparison.runs]
    if ran:
        _write(ran, report)
    if options.json:
        emit_json([job.comparison for job in ran])
    elif ran and report.parent != ran[0].path.parent and not quiet():
        runtime.report.show_leaders([job.comparison for job in ran], stdout())
        stdout().print(f"Details: {report}")
    return FAILED if any(run.failure is not None for job in ran for run in job.comparison.runs) else 0
