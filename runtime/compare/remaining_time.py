"""Estimate how long the runs that a comparison still lacks will take."""

from runtime.compare.comparison import Comparison
from runtime.compare.contender import ONE_CORE
from runtime.compare.rounds import Step, steps


def left(comparison: Comparison, rounds: int | None = None) -> float:
    """Return about how many seconds the missing runs will take, by those that have run or by what is predicted.

    Args:
        comparison: With the runs so far.
        rounds: Up to which; None: all, as if nobody more were dropped.
    """
    durations: dict[str, list[float]] = {}
    for run in comparison.runs:
        durations.setdefault(run.name, []).append(run.seconds)
    seconds = 0.0
    for step in steps(comparison, rounds):
        own = durations.get(step.name)
        seconds += sum(own) / len(own) if own else expected_s(comparison, step)
    return seconds


HAND_OVER_S = 0.7
"""Roughly what handing a model over takes."""
ONE_CORE_S = 2.0
"""Roughly how long the plain step is repeated on one core."""
BASELINE_S = 8.0
"""Roughly what starting a baseline takes."""


def expected_s(comparison: Comparison, step: Step) -> float:
    """Return about how long a run takes, going by the predictions."""
    split = comparison.contender(step.name).split
    plan = split or comparison.ours.plan
    minibatches = plan.predicted.minibatches
    step_s = sum(stage.total_s for stage in plan.stages)
    cores = len(set(comparison.request.cores))
    warm_up_s = step_s * (len(plan.stages) + 1) / cores
    if step.name == ONE_CORE:
        return ONE_CORE_S + comparison.plain_step_s
    if split is None:
        return BASELINE_S + (minibatches + 2) * step_s / cores
    work_s = step_s * minibatches / cores
    return HAND_OVER_S + max(work_s, plan.predicted.makespan_s) + warm_up_s


def duration(seconds: float) -> str:
    """Return a time in words: ``40 s``, ``3 min``, ``1 h 20 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
