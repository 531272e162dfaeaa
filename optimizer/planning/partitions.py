"""Turn names into plans: ``optimized``, ``sliced``, ``bf16``, the schemes by name, ``all`` of these, or ``study``."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from optimizer.errors import PartitionError
from optimizer.plan import Plan
from optimizer.planning.hand_tuned import hand_tuned_cuts
from optimizer.planning.schemes import Schemes, shares_of
from profiler.errors import suggest

if TYPE_CHECKING:
    from optimizer.planning.planner import Planner

OPTIMIZED = "optimized"
SLICED = "sliced"
"""The best split of the model with layers cut inside."""
LOWERED = "bf16"
"""The best split in whatever precision is the fastest."""
STUDY = "study"
"""The cuts that were tuned by hand, as ``configs/hand-tuned.yaml`` has them."""
ALL = "all"
OTHER_PLANNERS = ("pipedream", "pipedream-code", "torchgpipe", "uniform", "parameters", "flops")
"""Other planners, as ``peers`` has them."""


def partition_names(wanted: Iterable[str], schemes: Schemes) -> list[str]:
    """Return the names with ``all`` spelled out, each once.

    Raises:
        PartitionError: There is no such partition.
    """
    single = [OPTIMIZED, SLICED, LOWERED, *schemes]
    names: dict[str, None] = {}
    for name in wanted:
        if name not in (*single, STUDY, ALL):
            every = [*single, STUDY, ALL]
            raise PartitionError(f"there is no partition '{name}'{suggest(name, every)}; known: {', '.join(every)}")
        names |= dict.fromkeys(single if name == ALL else [name])
    return list(names)


def plan_for(name: str, planner: "Planner", schemes: Schemes) -> Plan:
    """Return the plan of partition ``name``, or of another planner of that name.

    Raises:
        PartitionError: There is no such partition, or the model has too few legal cuts.
    """
    if name in OTHER_PLANNERS:
        from optimizer.planning.other_planners import other_plan

        return other_plan(name, planner)
    if name == STUDY:
        return planner.in_captured_order(STUDY, hand_tuned_cuts(planner))
    if name == SLICED:
        return planner.sliced()
    if name == LOWERED:
        return planner.in_lower_precision()
    return planner.optimized() if name == OPTIMIZED else planner.scheme(name, shares_of(name, schemes))


def plans_for(
    names: Iterable[str], planner: "Planner", schemes: Schemes, report: Callable[[str], None]
) -> dict[str, Plan]:
    """Return the plans of all partitions that the model's cuts allow; a scheme that they do not allow is reported.

    Raises:
        PartitionError: Even the best split cannot be had.
    """
    plans = {}
    for name in names:
        try:
            plans[name] = plan_for(name, planner, schemes)
        except PartitionError as error:
            if name == OPTIMIZED and planner.inside is None:
                raise
            report(f"{planner.profile.model}: {name} is left out: {error}")
    return plans


def distinct(plans: Sequence[Plan]) -> list[int]:
    """Return for each plan the index of the first plan that splits the layers, and runs them, in the same way."""
    splits = [(plan.form, plan.split) for plan in plans]
    return [splits.index(split) for split in splits]
