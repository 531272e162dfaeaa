"""Refuse a plan that does not fit the processes, the schedule or the memory that there are, before it runs."""

from collections.abc import Sequence

from optimizer.plan import Plan
from optimizer.schedule import StageRequirements
from profiler.commands import smaller_minibatch, typed_form
from profiler.report import mib
from runtime.errors import InputError, TooLargeError
from runtime.results import ChannelName


def refuse_other_count(plan: Plan, processes: int) -> None:
    """Refuse a plan for another number of processes."""
    if len(plan.stages) != processes:
        raise InputError(f"the plan has {len(plan.stages)} stages for {processes} processes; set --stages to match")


def refuse_too_little_memory(
    plan: Plan,
    requirements: Sequence[StageRequirements],
    channel: ChannelName,
    free_bytes: int,
    whose: str,
    *,
    stages: Sequence[int],
) -> None:
    """Refuse a plan whose stages on this host need more together than is free.

    Args:
        plan: Under the schedule that is to run.
        requirements: Those of that schedule.
        channel: In shared memory, neighbours count the same slots.
        free_bytes: How much is free.
        whose: And whose limit that is.
        stages: Which stages are on this host.
    """
    needed = [plan.stages[stage].memory_bytes for stage in stages]
    shared = _slot_bytes(plan, requirements) if channel == "shm" else 0
    if sum(needed) - shared <= free_bytes:
        return
    listed = " + ".join(mib(size) for size in needed)
    flushing = "--schedule 1f1b-flush" if typed_form() else 'schedule="1f1b-flush"'
    flush = "" if plan.pace.rule.synchronous else f", or {flushing}, which keeps one weight version"
    raise TooLargeError(
        f"the {len(needed)} stages of {plan.model} need {mib(sum(needed) - shared)} MiB of memory ({listed}, what two "
        f"share counted once) and {whose} has {mib(free_bytes)} MiB free; {smaller_minibatch()}{flush}"
    )


def _slot_bytes(plan: Plan, requirements: Sequence[StageRequirements]) -> int:
    """Return the bytes of all slots, which both neighbours count as their own."""
    return sum(
        stage.sizes.activation_bytes * requirement.activation_slots
        + stage.sizes.gradient_bytes * requirement.gradient_slots
        for stage, requirement in zip(plan.stages, requirements, strict=True)
    )
