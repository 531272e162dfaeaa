"""Evenly spaced splits: partitions of no merit of their own, to hold predictions against more than a few splits.

Split t, 0 < t < 1, spreads its S − 1 cuts evenly over the first (or the last) share t of the captured order and moves
each to the nearest legal cut. From small shares of either end to the whole, that leads from one lopsided split over
equal layer counts to the other lopsided one; for two stages it is one cut that moves evenly from front to back.
"""

from collections.abc import Iterator
from fractions import Fraction

from optimizer.plan import Plan
from optimizer.planning.planner import Planner
from optimizer.planning.schemes import nearest_legal


def spaced_splits(planner: Planner, wanted: int, taken: set[tuple[tuple[str, ...], ...]]) -> dict[str, Plan]:
    """Return evenly spaced splits by name, ``spaced-1`` and so on, front to back.

    Args:
        planner: Plans the splits.
        wanted: How many distinct splits there shall be; there are fewer where the model has no more.
        taken: The splits that there are, each as the layers of its stages.
    """
    missing, steps = wanted - len(taken), wanted
    if len(planner.legal_cuts) < planner.stages - 1:
        return {}
    plans: dict[tuple[tuple[str, ...], ...], Plan] = {}
    while missing > 0 and steps <= 16 * wanted:
        plans = {}
        for cuts in _targets(len(planner.costs.layers), planner.stages, steps):
            plan = planner.in_captured_order("spaced", nearest_legal(cuts, planner.legal_cuts, planner.stages))
            if plan.split not in taken:
                plans.setdefault(plan.split, plan)
        if len(plans) >= missing:
            break
        steps *= 2
    chosen = list(plans.values())
    if len(chosen) > missing > 0:
        chosen = [chosen[(2 * number + 1) * len(chosen) // (2 * missing)] for number in range(missing)]
    return {f"spaced-{number}": plan for number, plan in enumerate(chosen, 1)}


def _targets(layers: int, stages: int, steps: int) -> Iterator[list[int]]:
    """Yield cuts as counts of layers before them, from the front of the model to its back."""
    shares = [Fraction(step, steps) for step in range(1, steps)]
    for share in shares:
        yield [round(layers * share * cut / stages) for cut in range(1, stages)]
    for share in reversed(shares):
        yield [round(layers * (1 - share * (stages - cut) / stages)) for cut in range(1, stages)]
