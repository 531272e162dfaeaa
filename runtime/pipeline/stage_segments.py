"""Cut a captured model into the segments of a plan's stages, or say why the plan fits neither model nor machine.

What crosses a cut is worked out from the model, never read from the plan.
"""

from collections.abc import Mapping, Sequence

from optimizer.plan import Plan
from optimizer.schedule import StageRequirements
from profiler.commands import command
from profiler.execution import Captured, Segment, segment_of
from profiler.profile import INPUT
from profiler.report import mib
from runtime.errors import InputError, TooLargeError
from runtime.results import ChannelName


def slices(captured: Captured, plan: Plan) -> list[Segment]:
    """Return the segment of each stage."""
    _refuse_others(captured, plan)
    stage_of = {INPUT: 0} | {layer: number for number, stage in enumerate(plan.stages) for layer in stage.layers}
    last = len(plan.stages) - 1
    boundaries = [(INPUT,), *(_crossing(captured, stage_of, cut) for cut in range(last)), ()]
    return [
        segment_of(captured, frozenset(stage.layers), boundaries[index], boundaries[index + 1])
        for index, stage in enumerate(plan.stages)
    ]


def _crossing(captured: Captured, stage_of: Mapping[str, int], cut: int) -> tuple[str, ...]:
    """Return the values that are made in stages up to ``cut`` and read behind it, the model's input among them."""
    read_behind = {edge.source for edge in captured.edges if edge.kind == "data" and stage_of[edge.target] > cut}
    read_behind |= set(captured.outputs)  # by the loss, in the last stage
    return tuple(name for name in (INPUT, *captured.layer_names) if name in read_behind and stage_of[name] <= cut)


def _refuse_others(captured: Captured, plan: Plan) -> None:
    shape = captured.specs[INPUT].shape
    if plan.input_shape != shape:
        raise InputError(
            f"the plan is for input {plan.input_shape} and {captured.name} was captured with {shape}; plan again with "
            f"{command('plan')}"
        )
    if plan.model_digest != captured.digest:
        raise InputError(
            f"the plan is for {plan.model} as it was profiled, whose layers are not those of this {captured.name}; "
            f"plan again with {command('plan')}"
        )


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
    flush = "" if plan.pace.rule.synchronous else ", or --schedule 1f1b-flush, which keeps one weight version"
    raise TooLargeError(
        f"the {len(needed)} stages of {plan.model} need {mib(sum(needed) - shared)} MiB of memory ({listed}, what two "
        f"share counted once) and {whose} has {mib(free_bytes)} MiB free; use a smaller --batch-size{flush}"
    )


def _slot_bytes(plan: Plan, requirements: Sequence[StageRequirements]) -> int:
    """Return the bytes of all slots, which both neighbours count as their own."""
    return sum(
        stage.sizes.activation_bytes * requirement.activation_slots
        + stage.sizes.gradient_bytes * requirement.gradient_slots
        for stage, requirement in zip(plan.stages, requirements, strict=True)
    )
