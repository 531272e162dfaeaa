"""Where a perfectly even split would cut: which layers to cut inside, and into what.

An even split of S stages cuts at the i/S-th part of the work, i = 1 … S − 1. A place inside a layer that can be cut
becomes a cut between two of its features, unless it is as near to an end of that layer as no stage would notice. What
the blocks then cost is measured, never divided, for a narrower product has an efficiency of its own and putting the
parts together costs, too.
"""

from bisect import bisect_left
from itertools import accumulate, pairwise

from optimizer.costs import NANOSECONDS, Costs
from profiler.profile import Layer, Slicing, slicing_of

NEAR = 0.02
"""Of an even share: how near to a layer's end a place counts as there."""
GRAIN = 16
"""Blocks have multiples of so many features, where a layer has many: kernels work on as many at a time."""


def even_share_s(costs: Costs, stages: int) -> float:
    """Return what each stage would take if a split could cut anywhere."""
    return (sum(costs.weights_ns()) + costs.loss_ns) / stages / NANOSECONDS


def even_slicing(costs: Costs, stages: int) -> Slicing:
    """Return the cuts inside layers at the even split's places; none where no layer that can be cut is in the way.

    Args:
        costs: Of the model with all layers whole.
        stages: The number of stages.
    """
    even_s, places = even_share_s(costs, stages), dict[Layer, set[int]]()
    times_s = [own_ns / NANOSECONDS for own_ns in costs.weights_ns()]
    ends_s = list(accumulate(times_s))
    for cut in range(1, stages):
        at = min(bisect_left(ends_s, cut * even_s), len(ends_s) - 1)
        layer, share = costs.layers[at], 1 - (ends_s[at] - cut * even_s) / (times_s[at] or 1.0)
        if not layer.features or layer.uncuttable:
            continue
        grain = GRAIN if layer.features >= 4 * GRAIN else 1
        place = grain * round(share * layer.features / grain)
        least = max(layer.features * NEAR * even_s / layer.step_s, 0.5)
        if least < place < layer.features - least:
            places.setdefault(layer, set()).add(place)
    return slicing_of(
        {
            layer.name: tuple(b - a for a, b in pairwise([0, *sorted(cuts), layer.features]))
            for layer, cuts in places.items()
        }
    )
