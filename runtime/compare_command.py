"""``python -m runtime compare``: run partitions in turn and compare them."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from optimizer.partitions import OPTIMIZED, distinct, partition_names
from optimizer.schemes import load_schemes
from optimizer.types import Plan
from profiler.command import STAGES, configs, counted, emit_json, note, progress, stdout
from profiler.config import Config
from profiler.files import refuse_unwritable, to_json, write_whole
from profiler.store import path_for
from runtime.options import cores_of, launcher_of, plans_of, pool_of, settings_of
from runtime.types import Comparison

if TYPE_CHECKING:
    from runtime.pool import WorkerPool

RESULTS = Path("results")
FILE = "comparison.json"
HAND_OVER_S = 1.5
"""Roughly what handing a model over and warming up takes; only the announced duration depends on it."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One comparison: what to run and where to keep it."""

    config: Config
    plans: dict[str, Plan]
    path: Path


def compare_all(options: argparse.Namespace) -> int:
    """Compare the partitions of every model that is named."""
    schemes = load_schemes()
    wanted = configs(options)
    given = options.partitions.split(",") if options.partitions else None
    names = {config.model: partition_names(given or [OPTIMIZED, *config.schemes], schemes) for config in wanted}
    for config in wanted:
        settings_of(options, config)
    from profiler.process import usable_cores

    usable_cores(options.cores)
    stages = options.stages or STAGES
    paths = [_place(options.out, config, stages, len(wanted)) for config in wanted]
    for path in paths:
        refuse_unwritable(path)
    jobs, printed = [], []
    for config, path in zip(wanted, paths, strict=True):
        jobs.append(_Job(config, plans_of(options, config, names[config.model], schemes), path))
    _announce(jobs, stages, options)
    with pool_of(options, cores_of(options, stages)) as pool:
        for job in jobs:
            comparison = _carry_out(job, pool, options)
            if options.json:
                printed.append(comparison)
            elif not options.quiet:
                from runtime.table import show_comparison

                show_comparison(comparison, stdout())
            note(f"{job.config.model}: kept in {job.path}", quiet=options.quiet)
    emit_json(printed)
    return 0


def _place(out: Path | None, config: Config, stages: int, models: int) -> Path:
    if out is not None and models == 1:
        return out / FILE
    return (out or RESULTS) / f"{path_for(config).stem}-s{stages}" / FILE


def _announce(jobs: list[_Job], stages: int, options: argparse.Namespace) -> None:
    from profiler.process import usable_cores
    from runtime.launcher import cores_for

    cores = cores_for(stages, usable_cores(options.cores))
    runs, seconds = 0, 0.0
    for job in jobs:
        for index in set(distinct(list(job.plans.values()))):
            plan = list(job.plans.values())[index]
            work_s = sum(stage.total_s for stage in plan.stages) * job.config.batches / len(set(cores))
            seconds += job.config.repeats * (max(work_s, plan.predicted.makespan_s) + HAND_OVER_S)
            runs += job.config.repeats
    minutes = max(1, round(seconds / 60))
    note(f"{counted(runs, 'run')} on cores {','.join(map(str, cores))}, about {minutes} min", quiet=options.quiet)


def _carry_out(job: _Job, pool: "WorkerPool", options: argparse.Namespace) -> Comparison:
    from runtime.compare import compare

    config = job.config
    runs = config.repeats * len(set(distinct(list(job.plans.values()))))
    with (
        launcher_of(options, config, pool, settings_of(options, config)) as launcher,
        progress(config.model, runs, quiet=options.quiet) as advance,
    ):
        return compare(
            job.plans,
            launcher,
            config,
            lambda found: write_whole(job.path, to_json(found)),
            lambda name: advance(1, name),
        )
