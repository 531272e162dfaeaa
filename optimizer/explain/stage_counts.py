"""Tell whether fewer stages promise more than those that are wanted, down to one core without a pipeline.

A stage more adds copies and one more that may hold the others up; where layers are few or large, or stages unsteady,
that can cost more than it brings. A pipeline of s stages gives at most s times what one core does, so most counts need
no search.
"""

from dataclasses import dataclass

from optimizer.errors import PartitionError
from optimizer.planning import LEAST_GAIN, Planner


@dataclass(frozen=True, slots=True)
class FewerStages:
    """A smaller number of stages, and by which share it promises more throughput than the number that is wanted."""

    stages: int
    gain: float


def fewer_stages(planner: Planner) -> FewerStages | None:
    """Return the smaller number of stages that promises the most; None where none promises 2% more.

    Args:
        planner: Plans for the stages that are wanted.
    """
    if planner.problem.network:
        return None
    promised = planner.optimized().predicted.promised_samples_per_s
    found: FewerStages | None = None
    for stages in range(1 + len(planner.problem.forced), planner.stages):
        most = stages * planner.profile.batch_size / (planner.model.lone_core_s or 1.0)
        least = max(1 + LEAST_GAIN, 1 + (found.gain if found else 0.0)) * promised
        if most < least:
            continue
        try:
            other = planner.with_stages(stages).optimized()
        except PartitionError:  # so few need more memory than the limit allows
            continue
        if other.predicted.promised_samples_per_s >= least:
            found = FewerStages(stages, other.predicted.promised_samples_per_s / promised - 1)
    return found
