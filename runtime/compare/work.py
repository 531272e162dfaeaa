"""Carry comparisons out: the first round of each, then one after the other; keep every run, and let it be seen."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

from profiler.cli import note, progress
from profiler.errors import ConfigError
from profiler.files import to_json, write_whole
from profiler.measure import Yardstick
from profiler.profile import BF16, BF16_FORM, PLAIN_FORM
from profiler.report import counted
from runtime.baselines import run_baseline
from runtime.compare.begin import Job, command_line
from runtime.compare.comparison import Comparison
from runtime.compare.contender import ONE_CORE
from runtime.compare.resume import set_aside
from runtime.compare.rounds import compare, duration, expected_s, steps
from runtime.pipeline import cores_of, executions_of, pool_of
from runtime.supervisor import WorkerPool

HELPER_START_S, GENEROSITY = 120.0, 200.0
"""How long the timing of one core may take: to start, and times the step of the profile."""


Seen = Callable[[Sequence[Comparison]], None]
"""Called with all comparisons of a command."""


def carry_out(
    jobs: list[Job],
    stall_timeout_s: float | None = None,
    *,
    after_round: Seen = lambda _comparisons: None,
    after_first: Seen = lambda _comparisons: None,
    fresh: bool = False,
) -> None:
    """Do what is missing, and put it into ``jobs``: the first round of each comparison, and then one after the other.

    Args:
        jobs: What is to be carried out.
        stall_timeout_s: How long a stage may be at one action; None: by its prediction.
        after_round: Called whenever a comparison has a round more.
        after_first: Called when each has its first, and there is more to come.
        fresh: Whether it was asked for anew, for the words that say how to resume.
    """
    missing = _missing(jobs)
    if not missing:
        return
    stages = max(job.config.stages for job in jobs)
    cores = cores_of(jobs[0].config, stages)
    about = f"about {duration(sum(expected_s(job.comparison) for job in jobs))}"
    most = "" if jobs[0].comparison.request.full else "at most "
    updates = "; ".join(dict.fromkeys(job.settings.pace.update_words(job.config.batch_size) for job in jobs))
    note(
        f"{most}{counted(missing, 'run')} ({_composition(jobs)}) on cores {','.join(map(str, cores))}, {about}; "
        f"{updates}; Ctrl-C pauses; to resume, repeat the command{' without --fresh' if fresh else ''}",
    )

    def keep(at: int, latest: Comparison) -> None:
        before, jobs[at] = jobs[at], replace(jobs[at], comparison=latest, in_the_way="")
        if latest.rounds > before.comparison.rounds:
            after_round([job.comparison for job in jobs])

    since = [len(job.comparison.runs) for job in jobs]
    first = len(jobs) > 1 and any(not job.comparison.rounds for job in jobs)
    with pool_of(cores, stall_timeout_s) as pool:
        for only_first in (True, False) if first else (False,):
            with progress("comparing", _missing(jobs, only_first=only_first)) as advance:
                for at, job in enumerate(jobs):
                    if _missing([job], only_first=only_first):
                        _carry_out(job, pool, partial(keep, at), advance, since=since[at], only_first=only_first)
            if only_first and _missing(jobs):
                after_first([job.comparison for job in jobs])


def _missing(jobs: list[Job], *, only_first: bool = False) -> int:
    """Return how many runs are still to be done, at most, or how many of the first round."""
    return sum(step.round == 1 or not only_first for job in jobs for step in steps(job.comparison))


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
    advance: Callable[[float, str], None],
    *,
    since: int,
    only_first: bool,
) -> None:
    """Go on with one comparison, or do its first round, and ``keep`` what is known after each run."""
    comparison, config = replace(job.comparison, command=command_line()), job.config
    plans = [own.plan for own in comparison.partitions]
    precision = comparison.whole_precision
    as_long = replace(config, batches=comparison.ours.plan.predicted.minibatches)
    in_the_way = job.in_the_way

    def one_core() -> tuple[float, float]:
        patience_s = HELPER_START_S + GENEROSITY * comparison.plain_step_s
        step = yardstick.time(patience_s)
        return config.batch_size / step.step_s, step.foreign_load

    def plain() -> tuple[float, float]:
        request, step_s = comparison.request, comparison.plain_step_s
        cores = sorted(set(request.cores))
        speed = run_baseline(as_long, cores, request.update_every, step_s=step_s, precision=precision)
        return speed, 0.0  # what else its cores worked for is not known

    with (
        executions_of(config, plans, pool, job.settings) as executions,
        Yardstick(config, comparison.request.cores[0], BF16_FORM if precision == BF16 else PLAIN_FORM) as yardstick,
    ):
        if any(execution.captured.digest != comparison.model_digest for execution in executions.values()):
            raise ConfigError(f"{config.name} has changed since {job.path} was begun; measure it anew with --fresh")
        others: dict[str, Callable[[], tuple[float, float]]] = {ONE_CORE: one_core}
        others |= {comparison.plain.name: plain} if comparison.plain else {}
        advance(0, _next(comparison))
        for latest in compare(comparison, executions, others, since):
            if in_the_way:
                note(f"the old results in {job.path} are renamed to {set_aside(job.path).name}: {in_the_way}")
                in_the_way = ""
            write_whole(job.path, to_json(latest), "--out")
            keep(latest)
            advance(1, _next(latest))
            if only_first and latest.rounds:
                break


def _next(comparison: Comparison) -> str:
    """Return which model is compared, and who runs next."""
    return ", ".join([comparison.request.model, *(step.name for step in islice(steps(comparison), 1))])
