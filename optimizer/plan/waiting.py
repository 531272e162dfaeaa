"""Say what a zero-bubble plan gives up that holds fewer minibatches, or updates more often, than keeps stages busy."""

from dataclasses import replace

from optimizer.plan.forecast import scheduled
from optimizer.plan.plan import Plan
from profiler.report import counted

LEAST = 0.02
"""A smaller loss is not worth a sentence."""


def waiting_words(plan: Plan) -> str:
    """Return a sentence on what a plan gives up by waiting, and what would do; nothing where there is none."""
    pace, enough = plan.pace, 2 * len(plan.stages) - 1
    slowest_s = max(stage.total_s for stage in plan.stages)
    lost = 1 - plan.predicted.throughput_samples_per_s * slowest_s / plan.batch_size
    if not pace.rule.splits or lost < LEAST:
        return ""
    if pace.update_every < enough:
        return (
            f"with {counted(pace.update_every, 'minibatch')} an update, stages wait, which costs {lost:.0%} of the "
            f"throughput; {enough} or more keep them busy"
        )
    if pace.held < enough:
        return (
            f"for the limit on memory a stage holds {pace.held} minibatches between forward and weight gradients, "
            f"which costs {lost:.0%} of the throughput; {enough} keep all stages busy, in {_needed(plan, enough)} MiB "
            "a stage"
        )
    return ""


def _needed(plan: Plan, held: int) -> str:
    """Return what the largest stage takes that holds so many minibatches."""
    whole = scheduled(plan, replace(plan.actions, pace=replace(plan.pace, held=held)))
    return f"{max(stage.memory_bytes for stage in whole.stages) / 2**20:,.0f}"
