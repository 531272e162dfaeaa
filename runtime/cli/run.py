"""``python -m runtime run``: run one plan."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import profiler.machine
import runtime.pipeline
import runtime.timeline
from optimizer.plan import Plan, scheduled, waiting_words
from optimizer.schedule import Pace, schedule_of
from profiler.cli import emit_json, note, option, quiet, stdout
from profiler.errors import ConfigError
from profiler.files import to_json, write_whole
from profiler.output_files import refuse_unwritable
from profiler.report import counted
from runtime.cli.options import ClockOption, RankOptions, clock_of, refuse_clock, settings_of
from runtime.cli.plans import one_plan, refuse_without_plan
from runtime.hosts import agree_on_plan, joined
from runtime.results import RunResult


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(RankOptions):
    """The options of ``run``."""

    clock: ClockOption = None
    output: Annotated[
        Path | None,
        option("write the run's result here", "-o", "--output", under="output", type=Path, metavar="FILE"),
    ] = None
    trace: Annotated[
        tuple[Path, ...],
        option(
            "write the timeline: .json (Perfetto) or .svg", under="output", type=Path, action="append", metavar="FILE"
        ),
    ] = ()


def run(options: RunOptions) -> int:
    """Run one plan, here or as one of several ranks, show what happened, and write what is asked for."""
    profiler.machine.expect_processes()
    with joined(options.rank_timeout_s, options.stall_timeout_s) as session:
        if session.distributed:
            refuse_without_plan(options)
        refuse_clock(options.clock, options)
        if session.leads:
            _refuse_files(options)
        config, plan = one_plan(options)
        cores = runtime.pipeline.cores_of(config, len(plan.stages))
        settings = settings_of(options, config, plan.pace, clock=clock_of(options.clock, options, cores))
        agree_on_plan(session, plan, config, settings)
        members = ", ".join(map(str, session.members))
        where = members if session.distributed else f"cores {','.join(map(str, cores))}"
        minibatches = config.minibatches(settings.pace.update_every)
        work = f"{counted(minibatches, 'minibatch')} through {counted(len(plan.stages), 'stage')} on {where}"
        turns = ", which they take in turns" if settings.clock == "virtual" else ""
        note(f"{plan.model}: {work}{turns}, {settings.pace.words}{_other(plan, settings.pace)}; "
             f"{settings.pace.update_words(plan.batch_size)}")  # fmt: skip

        if sentence := waiting_words(scheduled(plan, schedule_of(settings.pace, len(plan.stages), minibatches))):
            note(sentence)

        with (
            runtime.pipeline.pool_of(cores, options.stall_timeout_s, session) as pool,
            runtime.pipeline.progress_bar(plan.model, minibatches) as bar,
            runtime.pipeline.executions_of(config, [plan], pool, settings, bar, session=session) as executions,
            executions[plan.form].loaded(plan, minibatches) as loaded,
        ):
            bar.each = lambda: (plan.batch_size, 2 + settings.pace.rule.splits + 1 / settings.pace.update_every)
            result = loaded.run_loaded().result
        if session.leads:
            _keep(result, options)
            if options.json:
                emit_json([result])
            elif not quiet():
                runtime.timeline.show_run(result, stdout())
    return 0


def _other(plan: Plan, pace: Pace) -> str:
    """Say that a plan was found for another schedule than the one that runs, if so."""
    return "" if plan.planned_for == pace else f", which the split was not found for: that was {plan.planned_for.words}"


def _refuse_files(options: RunOptions) -> None:
    """Refuse what cannot be written, or would replace the plan."""
    plan = options.plan
    files = [path for path in (options.output, *options.trace) if path]
    for path in files:
        if plan and path.resolve() == plan.resolve():
            raise ConfigError(f"{path} would replace the plan; give it another name")
    if options.output:
        refuse_unwritable(options.output, "run's result", "-o")
    for path in options.trace:
        refuse_unwritable(path, "drawing" if path.suffix == ".svg" else "trace", "--trace")
    if len({path.resolve() for path in files}) < len(files):
        raise ConfigError(f"{files[0]} would hold two things; give every file a name of its own")
    for path in options.trace:
        if path.suffix not in (".json", ".svg"):
            raise ConfigError(f"the trace {path} ends in neither .json (for Perfetto) nor .svg (a picture)")


def _keep(result: RunResult, options: RunOptions) -> None:
    files: list[tuple[Path, bytes]] = [(options.output, to_json(result))] if options.output else []
    files += [
        (path, runtime.timeline.picture_of(result) if path.suffix == ".svg" else runtime.timeline.trace_of(result))
        for path in options.trace
    ]
    for path, content in files:
        write_whole(path, content)
        note(f"kept in {path}")
