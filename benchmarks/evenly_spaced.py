"""Evenly spaced splits: partitions of no merit of their own, to hold predictions against more than a few splits.

Split t, 0 < t < 1, spreads its S − 1 cuts evenly over the first (or the last) share t of the captured order and moves
each to the nearest legal cut. From small shares of either end to the whole, that leads from one lopsided split over
equal layer counts to the other lopsided one; for two stages it is one cut that moves evenly from front to back.
"""

from itertools import pairwise

from optimizer.plan import Plan
from optimizer.planning.planner import Planner
from optimizer.planning.schemes import nearest_legal

STEPS = 16
"""Into so many times the splits that are wanted the share t is divided; of those that differ, some are taken."""


def spaced_splits(planner: Planner, wanted: int, taken: set[tuple[tuple[str, ...], ...]]) -> dict[str, Plan]:
    """Return evenly spaced splits by name, ``spaced-1`` and so on, front to back.

    Args:
        planner: Plans the splits.
        wanted: How many distinct splits there shall be; there are fewer where the model has no more.
        taken: The splits that there are, each as the layers of its stages.
    """
    names, legal, stages = [layer.name for layer in planner.costs.layers], planner.legal_cuts, planner.stages
    missing, count, steps = wanted - len(taken), len(names), STEPS * wanted
    if len(legal) < stages - 1 or missing <= 0:
        return {}
    shares, numbers = [step / steps for step in range(1, steps)], range(1, stages)
    targets = [[round(count * share * number / stages) for number in numbers] for share in shares]
    targets += [[round(count * (1 - share * (stages - at) / stages)) for at in numbers] for share in reversed(shares)]
    found = dict.fromkeys(tuple(nearest_legal(cuts, legal, stages)) for cuts in targets)
    free = [cuts for cuts in found if tuple(tuple(names[a:b]) for a, b in pairwise((0, *cuts, count))) not in taken]
    chosen = (
        [free[(2 * number + 1) * len(free) // (2 * missing)] for number in range(missing)]
        if len(free) > missing
        else free
    )
    return {f"spaced-{number}": planner.in_captured_order("spaced", cuts) for number, cuts in enumerate(chosen, 1)}
