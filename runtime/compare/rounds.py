"""Compare partitions of one model: run them round after round, in random order, and keep what is known after each run.

In each round every contender that is still in the race runs once: the splits, the plain step on one core, and plain
PyTorch. Who is follows from the runs so far, and the order of a round from its number, so a comparison that is taken
up again goes on as it would have. A run that fails is noted, and the others go on; a round in which every split failed
is the last.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from profiler.errors import StageplanError, printable
from profiler.profile import Form
from runtime.compare.comparison import Comparison
from runtime.compare.contender import RunRecord
from runtime.errors import RunError, TooLargeError
from runtime.pipeline import Execution

TIMELINE_MINIBATCHES = 16
"""How many minibatches of a timeline are kept: the warm-up, and some of the steady state."""
HAND_OVER_S = 0.7
"""Roughly what handing a model over takes."""


@dataclass(frozen=True, slots=True)
class Step:
    """One run that is still to be done."""

    round: int
    name: str


def compare(
    comparison: Comparison,
    executions: Mapping[Form, Execution],
    others: Mapping[str, Callable[[], tuple[float, float]]],
    since: int,
) -> Iterator[Comparison]:
    """Do the missing runs of a comparison, and yield what is known after each; whoever asks for no more ends it.

    Args:
        comparison: What is to be compared, and the runs so far.
        executions: What runs partitions, by the form of their plans.
        others: For each contender that is no partition, what runs it once and returns its samples per second, and the
            share of the time in which its core worked for others.
        since: How many runs there were when the command began.
    """
    while step := next(steps(comparison), None):
        if _hopeless([run for run in comparison.runs[since:] if run.name in comparison.splits], step, comparison):
            break
        begun_s = time.perf_counter()
        record = _attempt(step, comparison, executions, others)
        record = replace(record, seconds=time.perf_counter() - begun_s)
        comparison = comparison.with_run(record)
        yield comparison


def steps(comparison: Comparison) -> Iterator[Step]:
    """Yield the runs that are still to be done, in order, as far as that is known: later rounds may have fewer."""
    if comparison.complete:
        return
    done = {(run.round, run.name) for run in comparison.runs}
    dropped = comparison.dropped
    for number in range(comparison.rounds + 1, comparison.request.repeats + 1):
        order = list(comparison.running)
        random.Random(f"main {number}").shuffle(order)  # noqa: S311 - an order, no secret
        missing = [name for name in order if dropped.get(name, number) >= number and (number, name) not in done]
        yield from (Step(number, name) for name in missing)


def _hopeless(runs: Sequence[RunRecord], step: Step, comparison: Comparison) -> bool:
    """Say whether every split failed in the round before, if that was one of ``runs``, which are this call's."""
    before = [run for run in runs if run.round == step.round - 1]
    return len(before) == len(comparison.splits) and all(run.failure is not None for run in before)


def _attempt(
    step: Step,
    comparison: Comparison,
    executions: Mapping[Form, Execution],
    others: Mapping[str, Callable[[], tuple[float, float]]],
) -> RunRecord:
    """Run one contender once; a failure is a result, too."""
    blank = RunRecord(number=len(comparison.runs), round=step.round, name=step.name, seconds=0.0)
    if step.name in others:
        try:
            speed, load = others[step.name]()
            return replace(blank, throughput_samples_per_s=speed, foreign_load=load)
        except StageplanError as error:
            return replace(blank, failure=printable(str(error)))
    part = comparison.contender(step.name)
    plan = part.plan
    execution = executions[plan.form]
    first = step.round == 1  # whose memory counts: a process keeps in its heap the shape of what ran before
    try:
        if first or execution.phase == "ended":
            execution.pool.renew()
        result = execution.run(plan, plan.predicted.minibatches)
    except (TooLargeError, RunError) as error:
        return replace(blank, failure=printable(str(error)))
    drawn = any(run.timeline for run in part.runs)
    return replace(
        blank,
        throughput_samples_per_s=result.throughput_samples_per_s,
        makespan_s=result.makespan_s,
        stages=tuple(
            stage.measured if first else replace(stage.measured, peak_rss_bytes=None) for stage in result.stages
        ),
        timeline=() if drawn else result.timeline(TIMELINE_MINIBATCHES),
    )


def expected_s(comparison: Comparison) -> float:
    """Return about how long the missing runs take, going by the predictions: each as long as one of a partition."""
    cores, seconds = len(set(comparison.request.cores)), 0.0
    for step in steps(comparison):
        plan = comparison.contender(step.name).split or comparison.ours.plan
        work_s = plan.predicted.minibatches * sum(stage.total_s for stage in plan.stages) / cores
        seconds += HAND_OVER_S + max(work_s, plan.predicted.makespan_s)
    return seconds


def duration(seconds: float) -> str:
    """Return a time in words: ``40 s``, ``3 min``, ``1 h 20 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
