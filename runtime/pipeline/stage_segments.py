"""Cut a captured model into the segments of a plan's stages, or say why the plan fits neither model nor machine.

What crosses a cut is worked out from the model, never read from the plan, so a plan that was edited by hand either
runs as it says or is refused.
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
    stage_of = _stage_of(captured, plan)
    _refuse_illegal(captured, stage_of)
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
    if plan.num_stages != len(plan.stages):
        raise InputError(
            f"the plan says {plan.num_stages} stages and has {len(plan.stages)}; plan again with {command('plan')}"
        )
    if plan.input_shape != shape:
        raise InputError(
            f"the plan is for input {plan.input_shape} and {captured.name} was captured with {shape}; plan again with "
            f"{command('plan')}"
        )
    if plan.slicing != captured.form.slicing:
        raise InputError(
            f"the plan cuts '{plan.slicing}' inside and the model at hand '{captured.form.slicing}'; "
            f"plan again with {command('plan')}"
        )
    if plan.precision != captured.form.precision:
        raise InputError(
            f"the plan is for {plan.precision} and {captured.name} was captured in "
            f"{captured.form.precision}; plan again with {command('plan')}"
        )
    if plan.model_digest != captured.digest:
        raise InputError(
            f"the plan is for {plan.model} as it was profiled, whose layers are not those of this {captured.name}; "
            f"plan again with {command('plan')}"
        )


def _stage_of(captured: Captured, plan: Plan) -> dict[str, int]:
    placed = [layer for stage in plan.stages for layer in stage.layers]
    if sorted(placed) != sorted(captured.layer_names):
        twice = {name for name in placed if placed.count(name) > 1}
        wrong = sorted(set(placed) ^ set(captured.layer_names) | twice)
        raise InputError(
            f"the plan does not place every layer of {captured.name} exactly once: see '{wrong[0]}'; "
            f"plan again with {command('plan')}"
        )
    return {INPUT: 0} | {layer: number for number, stage in enumerate(plan.stages) for layer in stage.layers}


def _refuse_illegal(captured: Captured, stage_of: Mapping[str, int]) -> None:
    for edge in captured.edges:
        if stage_of[edge.source] > stage_of[edge.target]:
            raise InputError(
                f"the plan puts '{edge.target}' into stage {stage_of[edge.target]}, before '{edge.source}' in stage "
                f"{stage_of[edge.source]}, which has to run first; plan again with {command('plan')}"
            )
    for group in captured.inseparable:
        _refuse_parting(group, stage_of)


def _refuse_parting(group: Sequence[str], stage_of: Mapping[str, int]) -> None:
    if len({stage_of[name] for name in group}) > 1:
        raise InputError(
            f"the plan parts '{group[0]}' and '{group[-1]}', which share a weight or hand over what is no tensor; "
            f"plan again with {command('plan')}"
        )


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
