"""Turn the names of partitions into plans: ``optimized``, the schemes by name, or ``all`` of these."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from optimizer.errors import PartitionError
from optimizer.schemes import Schemes, shares_of
from optimizer.types import Plan
from profiler.config import suggest

if TYPE_CHECKING:
    from optimizer.planner import Planner

OPTIMIZED = "optimized"
ALL = "all"


def partition_names(wanted: Iterable[str], schemes: Schemes) -> list[str]:
    """Return the names with ``all`` spelled out, each once.

    Raises:
        PartitionError: There is no such partition.
    """
    known = [OPTIMIZED, *schemes]
    found: dict[str, None] = {}
    for name in wanted:
        if name not in (*known, ALL):
            raise PartitionError(
                f"there is no partition '{name}'{suggest(name, known)}; known: {', '.join([*known, ALL])}"
            )
        found |= dict.fromkeys(known if name == ALL else [name])
    return list(found)


def plan_for(name: str, planner: "Planner", schemes: Schemes) -> Plan:
    """Return the plan of partition ``name``.

    Raises:
        PartitionError: There is no such partition, or the model has too few legal cuts.
    """
    return planner.optimized() if name == OPTIMIZED else planner.scheme(name, shares_of(name, schemes))


def distinct(plans: Sequence[Plan]) -> list[int]:
    """Return for each plan the index of the first plan that splits the layers in the same way."""
    splits = [tuple(stage.layers for stage in plan.stages) for plan in plans]
    return [splits.index(split) for split in splits]
