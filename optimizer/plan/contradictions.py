"""Tell whether the values of a plan go together, as far as that can be told without its profile."""

import math
from collections import Counter
from collections.abc import Iterator

from optimizer.plan.network import odd_network
from optimizer.plan.plan import Plan
from optimizer.schedule import pace_of, schedule_of
from profiler.errors import ConfigError
from profiler.profile import part_names

RELATIVE, ABSOLUTE_S = 1e-6, 1e-8


def odd_values(plan: Plan, *, as_run: bool = False) -> Iterator[str]:
    """Yield what contradicts itself in a plan, each in words; the first may be the only one.

    Args:
        plan: As it was planned, or as it ran.
        as_run: Whether it tells of other minibatches than it was planned for: then stages may take more memory than the
            limit, and update in place where they would not otherwise.
    """
    yield from _odd_stages(plan)
    yield from _odd_schedules(plan)
    yield from _odd_forms(plan)
    yield from _odd_times(plan)
    if plan.pace == plan.planned_for and not as_run:
        yield from _odd_promises(plan)
    if plan.network:
        yield from _odd_network(plan)


def _odd_stages(plan: Plan) -> Iterator[str]:
    listed = [name for stage in plan.stages for name in stage.layers]
    if len(plan.stages) != plan.num_stages:
        yield f"it says {plan.num_stages} stages and lists {len(plan.stages)}"
    for name in (name for name, times in Counter(listed).items() if times > 1):
        yield f"'{name}' is in it twice"
    if plan.batch_size != plan.input_shape[0]:
        yield f"its batch size is {plan.batch_size}, and its input has {plan.input_shape[0]} samples"
    for name in sorted({name for names in plan.cut_after for name in names}.difference(listed)):
        yield f"a cut was forced behind '{name}', which is in no stage"


def _odd_promises(plan: Plan) -> Iterator[str]:
    """Yield what of the plan's own schedule and minibatches does not go with its stages."""
    limit = plan.memory_limit_bytes
    for number, stage in enumerate(plan.stages):
        if limit is not None and stage.memory_bytes > limit:
            yield f"stage {number} takes {stage.memory_bytes} bytes and the limit is {limit}"
    slowest_s = max(stage.total_s for stage in plan.stages)
    if not plan.network and not _near(plan.bottleneck_s, slowest_s, _rounding_s(plan)):
        yield f"bottleneck_s is {plan.bottleneck_s}, and the slowest stage takes {slowest_s}"


def _rounding_s(plan: Plan) -> float:
    """Return by how much a stage's sum may be off: the search rounds what each of its layers takes to nanoseconds."""
    return max(len(stage.layers) for stage in plan.stages) * 2e-9


def _odd_schedules(plan: Plan) -> Iterator[str]:
    for pace in (plan.pace, plan.planned_for):
        try:
            if pace_of(pace.name, plan.num_stages, pace.update_every) != pace:
                yield f"an update takes {pace.update_every} minibatches, and {pace.name} has one for each"
        except ConfigError as error:
            yield str(error)
    try:
        schedule_of(plan.schedule, len(plan.stages), plan.predicted.minibatches, plan.update_every)
    except ConfigError as error:
        yield str(error)


def _odd_forms(plan: Plan) -> Iterator[str]:
    listed = {name for stage in plan.stages for name in stage.layers}
    cut = plan.slicing.pieces
    parts = [name for layer, pieces in cut.items() for name in _parts(layer, pieces)]
    for name in (name for name in (*parts, *sorted(plan.precision.in_float32 - set(cut))) if name not in listed):
        yield f"'{name}' is in its slicing or precision and in no stage"


def _parts(layer: str, pieces: tuple[int, ...]) -> list[str]:
    count = pieces[0] if len(pieces) == 1 else len(pieces)
    return part_names(layer, count) if count <= sum(pieces) < 1 << 31 else [layer]


def _odd_times(plan: Plan) -> Iterator[str]:
    for number, stage in enumerate(plan.stages):
        if not _near(stage.compute_s, stage.forward_s + stage.backward_s):
            yield f"compute_s of stage {number} is not its forward and backward"
        if not _near(stage.send_s, stage.send_forward_s + stage.send_backward_s):
            yield f"send_s of stage {number} is not what it sends forward and backward"
    if plan.lower_bound_s > plan.bottleneck_s and not _near(plan.lower_bound_s, plan.bottleneck_s):
        yield f"its bottleneck of {plan.bottleneck_s} s is below its lower bound of {plan.lower_bound_s} s"
    if plan.optimal and not _near(plan.lower_bound_s, plan.bottleneck_s):
        yield f"it is called optimal, and its bottleneck of {plan.bottleneck_s} s is above its lower bound"


def _odd_network(plan: Plan) -> Iterator[str]:
    measured = plan.network
    assert measured
    yield from (f"in its network, {odd}" for odd in odd_network(measured))
    if len(measured.ranks) != len(plan.stages):
        yield f"its network has {len(measured.ranks)} ranks, and it has {len(plan.stages)} stages"
    for name in ("model", "model_digest", "batch_size", "input_shape"):
        if getattr(measured, name) != getattr(plan, name):
            yield f"its network was measured for another {name.replace('_', ' ')}"


def _near(one: float, other: float, rounding_s: float = 0.0) -> bool:
    return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=ABSOLUTE_S + rounding_s)
