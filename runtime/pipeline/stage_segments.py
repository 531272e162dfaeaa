"""Cut a captured model into the segments of a plan's stages, or say why the plan does not fit the model.

What crosses a cut is worked out from the model, never read from the plan, so a plan that was edited by hand either
runs as it says or is refused.
"""

from collections.abc import Mapping, Sequence

from optimizer.plan import Plan
from profiler.commands import maker
from profiler.execution import Captured, Segment, segment_of
from profiler.profile import INPUT
from runtime.errors import InputError


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
            f"the plan says {plan.num_stages} stages and has {len(plan.stages)}; plan again with {maker('plan')}"
        )
    if plan.input_shape != shape:
        raise InputError(
            f"the plan is for input {plan.input_shape} and {captured.name} was captured with {shape}; plan again with "
            f"{maker('plan')}"
        )
    if plan.slicing != captured.form.slicing:
        raise InputError(
            f"the plan cuts '{plan.slicing}' inside and the model at hand '{captured.form.slicing}'; "
            f"plan again with {maker('plan')}"
        )
    if plan.precision != captured.form.precision:
        raise InputError(
            f"the plan is for {plan.precision} and {captured.name} was captured in "
            f"{captured.form.precision}; plan again with {maker('plan')}"
        )
    if plan.model_digest != captured.digest:
        raise InputError(
            f"the plan is for {plan.model} as it was profiled, whose layers are not those of this {captured.name}; "
            f"plan again with {maker('plan')}"
        )


def _stage_of(captured: Captured, plan: Plan) -> dict[str, int]:
    placed = [layer for stage in plan.stages for layer in stage.layers]
    if sorted(placed) != sorted(captured.layer_names):
        twice = {name for name in placed if placed.count(name) > 1}
        wrong = sorted(set(placed) ^ set(captured.layer_names) | twice)
        raise InputError(
            f"the plan does not place every layer of {captured.name} exactly once: see '{wrong[0]}'; "
            f"plan again with {maker('plan')}"
        )
    return {INPUT: 0} | {layer: number for number, stage in enumerate(plan.stages) for layer in stage.layers}


def _refuse_illegal(captured: Captured, stage_of: Mapping[str, int]) -> None:
    for edge in captured.edges:
        if stage_of[edge.source] > stage_of[edge.target]:
            raise InputError(
                f"the plan puts '{edge.target}' into stage {stage_of[edge.target]}, before '{edge.source}' in stage "
                f"{stage_of[edge.source]}, which has to run first; plan again with {maker('plan')}"
            )
    for group in captured.inseparable:
        _refuse_parting(group, stage_of)


def _refuse_parting(group: Sequence[str], stage_of: Mapping[str, int]) -> None:
    if len({stage_of[name] for name in group}) > 1:
        raise InputError(
            f"the plan parts '{group[0]}' and '{group[-1]}', which share a weight or hand over what is no tensor; "
            f"plan again with {maker('plan')}"
        )
