"""Plan for a profile that is in memory."""

from collections.abc import Sequence
from typing import Annotated

from optimizer.plan import EXACT, Plan
from optimizer.planning.models import Models, cut_named
from optimizer.planning.partitions import plan_for
from optimizer.planning.planner import Planner, link_of
from optimizer.planning.schemes import load_schemes, partition_of, refuse_limits
from optimizer.schedule import ASYNCHRONOUS, ScheduleName, pace_of
from profiler.profile import Profile
from profiler.python_arguments import Count, Hint, python_face
from profiler.settings import usual_minibatches


@python_face
def plan(
    profile: Annotated[Profile, Hint("make one with stageplan.profile(model, sample)")],
    *,
    stages: Annotated[Count, Hint("write stages=4")] = 4,
    method: str = EXACT,
    memory_limit_bytes: Annotated[Count, Hint("write memory_limit_bytes=2 << 30 for 2 GiB, say")] | None = None,
    cut_after: Annotated[Sequence[str], Hint("write cut_after=['features.5'], say")] = (),
    link: Annotated[tuple[float, float], Hint("write link=(100, 0.2) for 100 Mbit/s and 0.2 ms")] | None = None,
    minibatches: Count | None = None,
    schedule: ScheduleName = ASYNCHRONOUS,
    update_every: Count | None = None,
) -> Plan:
    """Return the best split of a model into ``stages`` stages, as ``python -m optimizer --profile`` does.

    It is the plan that the command writes for the same wishes.

    Args:
        profile: What the layers cost.
        stages: One a core.
        method: ``exact``, or the name of a scheme.
        memory_limit_bytes: What each stage may take; None: any amount.
        cut_after: Forced cuts, each by the layer that it stands directly behind, or by several as ``"a,b"``.
        link: Mbit/s and latency in ms of the network between stages on several hosts; None: cores of one machine.
        minibatches: How many the predictions are for; None: 12, or as many as four updates take.
        schedule: What a stage does next, which the plan is for.
        update_every: How many minibatches an update takes, where several share one; None: as many as usual.

    Raises:
        PartitionError: The model cannot be cut into so many stages.
        ConfigError: An argument cannot be what it is, or the schedule cannot run with so few minibatches an update.
        OptimizerError: There is no such method, or it does not know the limits.
        InfeasibleError: No split keeps the limit on memory.
    """
    schemes, pace = load_schemes(), pace_of(schedule, stages, update_every)
    partition = partition_of(method, schemes)
    groups = [cut_named(names) for names in cut_after]
    refuse_limits(method, {"--cut-after": groups, "--memory-limit": memory_limit_bytes})
    planner = Planner(
        profile,
        stages=stages,
        minibatches=minibatches or usual_minibatches(pace.update_every),
        pace=pace,
        memory_limit_bytes=memory_limit_bytes,
        cut_after=groups,
        link=link_of(*link) if link else None,
    )
    return plan_for(partition, Models(planner), schemes)
