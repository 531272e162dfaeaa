"""Plan for a profile that is in memory."""

from typing import Annotated

from optimizer.plan import Plan
from optimizer.planning.planner import Planner
from optimizer.planning.precision_choice import choose_precision
from optimizer.schedule import ASYNCHRONOUS, ScheduleName, pace_of
from profiler.profile import AUTO, FP32, PrecisionName, Profile, in_precision
from profiler.python_arguments import Count, Hint, python_face


@python_face
def plan(
    profile: Annotated[Profile, Hint("make one with stageplan.profile(model, sample)")],
    *,
    stages: Count = 4,
    memory_limit_bytes: Annotated[Count, Hint("write memory_limit_bytes=2 << 30 for 2 GiB, say")] | None = None,
    minibatches: Count = 12,
    schedule: ScheduleName = ASYNCHRONOUS,
    update_every: Count | None = None,
    precision: PrecisionName = "auto",
) -> Plan:
    """Return the best split of a model into ``stages`` stages, as ``python -m optimizer`` does for whole layers.

    Args:
        profile: What the layers cost.
        stages: One a core.
        memory_limit_bytes: What each stage may take; None: any amount.
        minibatches: How many the predictions are for.
        schedule: The order of the actions that is planned for.
        update_every: How many minibatches an update takes, where several share one; None: as many as usual.
        precision: ``fp32``, ``bf16``, or ``auto``: whatever the profile measured to be faster; without bfloat16 in it,
            float32.

    Raises:
        PartitionError: The model cannot be cut into so many stages.
        ConfigError: An argument cannot be what it is, the schedule cannot run with so few minibatches an update, or the
            profile says nothing of ``bf16``.
        InfeasibleError: No split keeps the limit on memory.
    """
    pace = pace_of(schedule, stages, update_every)

    def planner(own: Profile) -> Planner:
        return Planner(own, stages, minibatches, pace=pace, memory_limit_bytes=memory_limit_bytes)

    chosen: str = precision
    if precision == AUTO:
        chosen = FP32
        if profile.lowered:
            chosen = choose_precision(profile, lambda own: planner(own).bottleneck_s, pace).precision
    return planner(in_precision(profile, chosen)).optimized()
