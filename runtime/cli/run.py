"""``python -m runtime run``: run one plan."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from profiler.cli import emit_json, note, stdout
from profiler.errors import ConfigError
from profiler.files import refuse_unwritable, to_json, write_whole
from profiler.report import counted
from runtime.cli.options import cores_of, launcher_of, one_plan, pool_of, settings_of
from runtime.cluster import joined, refuse_without_plan
from runtime.pipeline import agree_on_plan
from runtime.results import RunResult

if TYPE_CHECKING:
    from runtime.cluster import Session


def run(options: argparse.Namespace) -> int:
    """Run one plan, here or as one of several ranks, show what happened, and write what is asked for."""
    with joined(options) as session:
        return _run(options, session)


def _run(options: argparse.Namespace, session: "Session | None") -> int:
    if session:
        refuse_without_plan(options)
    _refuse_files(options)
    config, plan = one_plan(options)
    settings = settings_of(options, config)
    if session:
        agree_on_plan(session, plan, config, settings)
    cores = cores_of(options, plan.layout.size)
    where = f"cores {','.join(map(str, cores))}" if session is None else ", ".join(map(str, session.members))
    work = f"{counted(len(plan.stages), 'stage')} on {where}"
    note(
        f"{plan.model}: {counted(config.batches, 'minibatch')} through {work}, {settings.schedule}", quiet=options.quiet
    )
    from runtime.timeline import live_view, show_run

    with (
        pool_of(options, cores, session) as pool,
        live_view(cores, quiet=options.quiet or session is not None) as watch,
        launcher_of(options, config, pool, settings, watch, session=session) as launcher,
    ):
        result = launcher.run(plan, config.batches)
    _keep(result, options)
    if options.json:
        emit_json([result])
    elif not options.quiet:
        show_run(result, stdout())
    return 0


def _refuse_files(options: argparse.Namespace) -> None:
    """Refuse what cannot be written, or would replace the plan."""
    for path in (options.output, *options.trace):
        if path:
            refuse_unwritable(path)
    for path in options.trace:
        if path.suffix not in (".json", ".svg"):
            raise ConfigError(f"the trace {path} ends in neither .json (for Perfetto) nor .svg (a picture)")
        if options.plan and path.resolve() == options.plan.resolve():
            raise ConfigError(f"the trace {path} would replace the plan; give it another name")
    if options.plan and options.output and options.output.resolve() == options.plan.resolve():
        raise ConfigError(f"the result {options.output} would replace the plan; give it another name")


def _keep(result: RunResult, options: argparse.Namespace) -> None:
    from runtime.timeline import picture_of, trace_of

    files: list[tuple[Path, bytes]] = [(options.output, to_json(result))] if options.output else []
    files += [(path, picture_of(result) if path.suffix == ".svg" else trace_of(result)) for path in options.trace]
    for path, content in files:
        write_whole(path, content)
        note(f"kept in {path}", quiet=options.quiet)
