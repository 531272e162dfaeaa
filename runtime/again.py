"""Plan again with the measured stage times: is there a better split than the one that was predicted to be the best?"""

from dataclasses import replace

from optimizer.assemble import scheduled
from optimizer.planner import Planner
from optimizer.refit import Observation, refitted
from profiler.files import digest, to_json
from runtime.comparison import REFIT, Comparison, PartitionComparison, Refit
from runtime.request import partition
from runtime.summary import summarised

OTHER_PROFILE = "The profile has been measured anew since, so what was planned again started from other costs."


def with_refit(comparison: Comparison, planner: Planner) -> Comparison:
    """Return the comparison with the partition ``refit``, planned from what its splits were measured to take.

    Args:
        comparison: All rounds done.
        planner: Of the profile that the comparison's plans came from.
    """
    ran = [part for part in comparison.partitions if part.same_as is None and part.stages and part.name != REFIT]
    observations = [seen for part in ran for seen in _observations(part)]
    if not observations:
        return comparison
    again = Planner(refitted(planner.profile, observations), planner.stages, planner.minibatches)
    new = again.optimized()
    reference = comparison.ours
    old = again.same_split(reference.plan)
    same = next((part for part in ran if part.plan.split == new.split), None)
    found = Refit(
        cuts=new.cuts,
        same_split=new.split == reference.plan.split,
        predicted_gain=old.bottleneck_s / new.bottleneck_s - 1,
    )
    if digest(to_json(planner.profile)) != reference.plan.profile_digest:
        comparison = replace(comparison, doubts=(*comparison.doubts, OTHER_PROFILE))
    if found.same_split:
        return replace(comparison, refit=found)
    added = partition(REFIT, scheduled(new, comparison.actions), same.name if same else None)
    return summarised(replace(comparison, partitions=(*comparison.partitions, added), refit=found), comparison.runs)


def _observations(part: PartitionComparison) -> list[Observation]:
    last = len(part.stages) - 1
    return [
        Observation(
            layers=planned.layers,
            last=number == last,
            in_place=planned.update_s == planned.update_in_place_s,
            updates=part.plan.updates,
            work_s=stage.work_s,
        )
        for number, (planned, stage) in enumerate(zip(part.plan.stages, part.stages, strict=True))
    ]
