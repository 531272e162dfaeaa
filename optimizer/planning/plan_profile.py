"""Plan for a profile that is in memory."""

from optimizer.plan import Plan
from optimizer.planning.planner import Planner
from profiler.profile import Profile


def plan(profile: Profile, *, stages: int = 4, memory_limit_bytes: int | None = None, minibatches: int = 12) -> Plan:
    """Return the best split of a model into ``stages`` stages, as ``python -m optimizer`` does for whole layers.

    Args:
        profile: What the layers cost.
        stages: One a core.
        memory_limit_bytes: What each stage may take; None: any amount.
        minibatches: How many the predictions are for.

    Raises:
        PartitionError: The model cannot be cut into so many stages.
        InfeasibleError: No split keeps the limit on memory.
    """
    return Planner(profile, stages, minibatches, memory_limit_bytes=memory_limit_bytes).optimized()
