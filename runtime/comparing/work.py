"""Carry comparisons out: the first round of each, then one after the other; keep runs and the report up to date."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from profiler.cli import note, screen, stderr
from profiler.errors import ConfigError
from profiler.files import to_json, write_whole
from profiler.machine import claimed
from profiler.measure import Yardstick
from profiler.profile import BF16, BF16_FORM, PLAIN_FORM
from profiler.report import counted
from runtime.baselines import run_baseline
from runtime.compare import ONE_CORE, Comparison, command_line, compare, duration, left, set_aside, steps
from runtime.comparing.job import Job
from runtime.pipeline import cores_of, executions_of, pool_of
from runtime.report import Awaited, live_progress, show_leaders, write_reports
from runtime.supervisor import WorkerPool

HELPER_START_S, GENEROSITY = 120.0, 200.0
"""How long the timing of one core may take: to start, and times the step of the profile."""


def carry_out(jobs: list[Job], reports: list[Path], stall_timeout_s: float | None, *, fresh: bool) -> None:
    """Do what is missing, and put it into ``jobs``: the first round of each comparison, and then one after the other.

    The report is written anew with every round.
    """
    missing = sum(sum(1 for _ in steps(job.comparison)) for job in jobs)
    if not missing:
        return
    stages = max(job.config.stages for job in jobs)
    cores = cores_of(jobs[0].config, stages)
    first = len(jobs) > 1 and any(not job.comparison.rounds for job in jobs)
    about = f"about {duration(sum(left(job.comparison) for job in jobs))}"
    if first:
        about += f", a first answer after {duration(sum(left(job.comparison, 1) for job in jobs))}"
    most = "" if jobs[0].comparison.request.full else "at most "
    updates = "; ".join(dict.fromkeys(job.settings.pace.update_words(job.config.batch_size) for job in jobs))
    note(
        f"{most}{counted(missing, 'run')} ({_composition(jobs)}) on cores {','.join(map(str, cores))}, {about}; "
        f"{updates}; Ctrl-C pauses; to resume, repeat the command{' without --fresh' if fresh else ''}",
    )

    def keep(at: int, latest: Comparison) -> None:
        before, jobs[at] = jobs[at], replace(jobs[at], comparison=latest, in_the_way="")
        if reports and latest.rounds > before.comparison.rounds:
            write(jobs, reports)

    since = [len(job.comparison.runs) for job in jobs]
    with claimed(cores), pool_of(cores, stall_timeout_s) as pool:
        for rounds in (1, None) if first else (None,):
            for at, job in enumerate(jobs):
                part = _Part(rounds, since[at], _awaited(jobs, at, rounds))
                _carry_out(job, pool, partial(keep, at), part)
            if rounds and not screen().quiet and not all(job.comparison.complete for job in jobs):
                show_leaders(
                    [job.comparison for job in jobs],
                    stderr(),
                    "provisional, after a first round of each; the report stands, and gets better with every round",
                )


def write(jobs: list[Job], reports: list[Path]) -> None:
    """Write the report on what is known so far."""
    write_reports([job.comparison for job in jobs if job.comparison.runs], reports)


@dataclass(frozen=True, slots=True)
class _Part:
    """What is to be done of one comparison.

    Attributes:
        rounds: Up to which round; None: all.
        since: How many of its runs there were when the command began.
        awaited: How long the other comparisons take.
    """

    rounds: int | None
    since: int
    awaited: Awaited


def _awaited(jobs: list[Job], at: int, rounds: int | None) -> Awaited:
    """Return how long the other comparisons take: to a first answer about all, and to the last."""
    others = [job.comparison for number, job in enumerate(jobs) if number != at]
    later = [job.comparison for job in jobs[at + 1 :]]
    first_s = sum(left(comparison, rounds) for comparison in later) if rounds else None
    return Awaited(first_s, sum(left(comparison) for comparison in (others if rounds else later)))


def _composition(jobs: list[Job]) -> str:
    """Return what the missing runs are: ``4 contenders × 3 rounds``, or of how many comparisons."""
    comparison = jobs[0].comparison
    if len(jobs) > 1 or comparison.runs:
        return f"of {counted(len(jobs), 'comparison')}"
    rounds = counted(comparison.request.repeats, "round")
    return f"{counted(len(comparison.running), 'contender')} × {rounds}"


def _carry_out(job: Job, pool: WorkerPool, keep: Callable[[Comparison], None], part: _Part) -> None:
    """Do a part of one comparison, and ``keep`` what is known after each run."""
    comparison, config = job.comparison, job.config
    if not any(steps(comparison, part.rounds)):
        return
    comparison = replace(comparison, command=command_line())
    plans = [own.plan for own in comparison.partitions]
    precision = comparison.whole_precision
    as_long = replace(config, batches=comparison.ours.plan.predicted.minibatches)
    in_the_way = job.in_the_way

    def save(latest: Comparison) -> None:
        nonlocal in_the_way
        if in_the_way:
            free = set_aside(job.path)
            note(
                f"the old results in {job.path} are renamed to {free.name}: {in_the_way}",
            )
            in_the_way = ""
        write_whole(job.path, to_json(latest), "--out")
        keep(latest)

    def one_core() -> tuple[float, float]:
        patience_s = HELPER_START_S + GENEROSITY * comparison.plain_step_s
        step = yardstick.time(patience_s)
        return config.batch_size / step.step_s, step.foreign_load

    def threads(*, tuned: bool) -> tuple[float, float]:
        request, step_s = comparison.request, comparison.plain_step_s
        every = request.update_every
        speed = run_baseline(as_long, request.cores, every, tuned=tuned, step_s=step_s, precision=precision)
        return speed, 0.0  # what else its cores worked for is not known

    with (
        executions_of(config, plans, pool, job.settings) as executions,
        Yardstick(config, comparison.request.cores[0], BF16_FORM if precision == BF16 else PLAIN_FORM) as yardstick,
        live_progress(part.awaited) as watch,
    ):
        if any(execution.captured.digest != comparison.model_digest for execution in executions.values()):
            raise ConfigError(f"{config.name} has changed since {job.path} was begun; measure it anew with --fresh")
        others: dict[str, Callable[[], tuple[float, float]]] = {ONE_CORE: one_core}
        others |= {own.name: partial(threads, tuned=own.tuned) for own in comparison.baselines}
        compare(comparison, executions, others, save, watch, rounds=part.rounds, since=part.since)
