"""Carry comparisons out: the first round of each, then one after the other; keep every run, and let it be seen."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

from profiler.cli import note
from profiler.errors import ConfigError
from profiler.files import to_json, write_whole
from profiler.machine import claimed
from profiler.measure import Yardstick
from profiler.profile import BF16, BF16_FORM, PLAIN_FORM
from profiler.report import counted
from runtime.baselines import run_baseline
from runtime.compare.begin import Job, command_line
from runtime.compare.comparison import Comparison
from runtime.compare.contender import ONE_CORE
from runtime.compare.resume import set_aside
from runtime.compare.rounds import Step, compare, duration, left, steps
from runtime.pipeline import cores_of, executions_of, pool_of
from runtime.supervisor import WorkerPool

HELPER_START_S, GENEROSITY = 120.0, 200.0
"""How long the timing of one core may take: to start, and times the step of the profile."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """How long other comparisons take, beside what one of them has before it.

    Attributes:
        first_s: Until there is a first answer about all; None where there is one, or only one comparison.
        last_s: Until all is done.
    """

    first_s: float | None = None
    last_s: float = 0.0


Watch = Callable[[Comparison, Step | None], None]
"""Called before each run with what is known and what comes, and at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """What lets comparisons be seen while they are carried out.

    Attributes:
        live: Shows one of them.
        after_round: Called with all of them whenever one has a round more.
        after_first: Called with all of them when each has its first, and there is more to come.
    """

    live: Callable[[Awaited], AbstractContextManager[Watch]]
    after_round: Callable[[Sequence[Comparison]], None] = lambda _comparisons: None
    after_first: Callable[[Sequence[Comparison]], None] = lambda _comparisons: None


def carry_out(jobs: list[Job], views: Views, stall_timeout_s: float | None = None, *, fresh: bool = False) -> None:
    """Do what is missing, and put it into ``jobs``: the first round of each comparison, and then one after the other.

    Args:
        jobs: What is to be carried out.
        views: What lets it be seen.
        stall_timeout_s: How long a stage may be at one action; None: by its prediction.
        fresh: Whether it was asked for anew, for the words that say how to resume.
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
        if latest.rounds > before.comparison.rounds:
            views.after_round([job.comparison for job in jobs])

    since = [len(job.comparison.runs) for job in jobs]
    with claimed(cores), pool_of(cores, stall_timeout_s) as pool:
        for rounds in (1, None) if first else (None,):
            for at, job in enumerate(jobs):
                if any(steps(job.comparison, rounds)):
                    with views.live(_awaited(jobs, at, rounds)) as watch:
                        _carry_out(job, pool, partial(keep, at), watch, rounds=rounds, since=since[at])
            if rounds and not all(job.comparison.complete for job in jobs):
                views.after_first([job.comparison for job in jobs])


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


def _carry_out(
    job: Job,
    pool: WorkerPool,
    keep: Callable[[Comparison], None],
    watch: Watch,
    *,
    rounds: int | None,
    since: int,
) -> None:
    """Do a part of one comparison, and ``keep`` what is known after each run; the rest as of ``compare``."""
    comparison, config = replace(job.comparison, command=command_line()), job.config
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
    ):
        if any(execution.captured.digest != comparison.model_digest for execution in executions.values()):
            raise ConfigError(f"{config.name} has changed since {job.path} was begun; measure it anew with --fresh")
        others: dict[str, Callable[[], tuple[float, float]]] = {ONE_CORE: one_core}
        others |= {own.name: partial(threads, tuned=own.tuned) for own in comparison.baselines}
        compare(comparison, executions, others, save, watch, rounds=rounds, since=since)
