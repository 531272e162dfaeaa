"""Carry a comparison out: do the runs that are missing, keep every one, and let it be seen."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice

from profiler.cli import note, progress
from profiler.errors import ConfigError
from profiler.files import to_json, write_whole
from profiler.measure import step_timer
from profiler.profile import BF16, BF16_FORM, PLAIN_FORM
from profiler.report import counted
from runtime.baselines import run_baseline
from runtime.compare.begin import Job, command_line
from runtime.compare.comparison import Comparison
from runtime.compare.contender import ONE_CORE
from runtime.compare.resume import set_aside
from runtime.compare.rounds import compare, duration, expected_s, steps
from runtime.pipeline import cores_of, executions_of, pool_of

HELPER_START_S, GENEROSITY = 120.0, 200.0
"""How long the timing of one core may take: to start, and times the step of the profile."""


def carry_out(
    job: Job,
    stall_timeout_s: float | None = None,
    *,
    seen: Callable[[Comparison], None] = lambda _comparison: None,
    fresh: bool = False,
) -> Comparison:
    """Do what is missing of a comparison, keep it after each run, and return it.

    Args:
        job: What is to be carried out.
        stall_timeout_s: How long a stage may be at one action; None: by its prediction.
        seen: Called with what is known after each run.
        fresh: Whether it was asked for anew, for the words that say how to resume.
    """
    comparison, config = replace(job.comparison, command=command_line()), job.config
    most = sum(1 for _ in steps(comparison))
    if not most:
        return job.comparison
    _announce(job, most, fresh=fresh)
    plans = [own.plan for own in comparison.partitions]
    precision = comparison.whole_precision
    in_the_way = job.in_the_way

    def one_core() -> tuple[float, float]:
        patience_s = HELPER_START_S + GENEROSITY * comparison.plain_step_s
        step = timed(patience_s)
        return config.batch_size / step.step_s, step.foreign_load

    def plain() -> tuple[float, float]:
        request, step_s = comparison.request, comparison.plain_step_s
        cores = sorted(set(request.cores))
        speed = run_baseline(config, cores, request.update_every, step_s=step_s, precision=precision)
        return speed, 0.0  # what else its cores worked for is not known

    with (
        pool_of(cores_of(config, config.stages), stall_timeout_s) as pool,
        executions_of(config, plans, pool, job.settings) as executions,
        step_timer(config, comparison.request.cores[0], BF16_FORM if precision == BF16 else PLAIN_FORM) as timed,
        progress("comparing", most) as advance,
    ):
        if any(execution.captured.digest != comparison.model_digest for execution in executions.values()):
            raise ConfigError(f"{config.name} has changed since {job.path} was begun; measure it anew with --fresh")
        others: dict[str, Callable[[], tuple[float, float]]] = {ONE_CORE: one_core}
        others |= {comparison.plain.name: plain} if comparison.plain else {}
        advance(0, _next(comparison))
        for latest in compare(comparison, executions, others, len(comparison.runs)):
            if in_the_way:
                note(f"the old results in {job.path} are renamed to {set_aside(job.path).name}: {in_the_way}")
                in_the_way = ""
            write_whole(job.path, to_json(latest), "--out")
            comparison = latest
            seen(latest)
            advance(1, _next(latest))
    return comparison


def _announce(job: Job, most: int, *, fresh: bool) -> None:
    """Say what is going to run, where, and for about how long."""
    request, config = job.comparison.request, job.config
    contenders, rounds = counted(len(job.comparison.running), "contender"), counted(request.repeats, "round")
    composed = "" if job.comparison.runs else f" ({contenders} × {rounds})"
    cores = ",".join(map(str, cores_of(config, config.stages)))
    note(
        f"{config.name}: {'' if request.full else 'at most '}{counted(most, 'run')}{composed} on cores {cores}, about "
        f"{duration(expected_s(job.comparison))}; {job.settings.pace.update_words(config.batch_size)}; Ctrl-C pauses; "
        f"to resume, repeat the command{' without --fresh' if fresh else ''}",
    )


def _next(comparison: Comparison) -> str:
    """Return which model is compared, and who runs next."""
    return ", ".join([comparison.request.model, *(step.name for step in islice(steps(comparison), 1))])
