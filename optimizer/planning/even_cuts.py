"""Where a perfectly even split would cut: which layers to cut inside, and into what.

An even split of S stages cuts at the i/S-th part of the work, i = 1 … S − 1; under 1F1B the last stage updates in
place, which counts. A place inside a layer that can be cut becomes a cut between two of its features, unless it is as
near to an end of that layer as no stage would notice. What the blocks then cost is measured, never divided, for a
narrower product has an efficiency of its own and putting the parts together costs, too.
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
    return _even(costs, stages)[0]


def even_places(costs: Costs, stages: int) -> list[tuple[Layer, float]]:
    """Return the layer in which each cut of a perfectly even split lies, and which share of it stands before."""
    (share_s, ends), weights_ns = _even(costs, stages), costs.weights_ns()
    places = []
    for cut in range(1, stages):
        at = min(bisect_left(ends, cut * share_s), len(ends) - 1)
        own_s = weights_ns[at] / NANOSECONDS
        places.append((costs.layers[at], 1 - (ends[at] - cut * share_s) / own_s if own_s else 1.0))
    return places


def even_slicing(costs: Costs, stages: int) -> Slicing:
    """Return the cuts inside layers at the even split's places; none where no layer that can be cut is in the way.

    Args:
        costs: Of the model with all layers whole.
        stages: The number of stages.
    """
    near_s, places = NEAR * even_share_s(costs, stages), dict[Layer, set[int]]()
    for layer, share in even_places(costs, stages):
        if not layer.features or layer.uncuttable:
            continue
        grain = GRAIN if layer.features >= 4 * GRAIN else 1
        place = grain * round(share * layer.features / grain)
        least = max(layer.features * near_s / layer.step_s, 0.5)
        if least < place < layer.features - least:
            places.setdefault(layer, set()).add(place)
    return slicing_of(
        {
            layer.name: tuple(b - a for a, b in pairwise([0, *sorted(cuts), layer.features]))
            for layer, cuts in places.items()
        }
    )


def _even(costs: Costs, stages: int) -> tuple[float, list[float]]:
    """Return the even share T, and the time up to each layer's end.

    S − 1 stages take T of the time; what is left over takes T less what it saves as the last. The more the first stages
    take the less is left, so T is found by bisection.
    """
    times, in_place = ([own_ns / NANOSECONDS for own_ns in costs.weights_ns(last=last)] for last in (False, True))
    loss_s = costs.loss_ns / NANOSECONDS
    ends, low_s, high_s = list(accumulate(times)), 0.0, sum(times) + loss_s
    for _ in range(50):
        middle_s = (low_s + high_s) / 2
        before_s = min((stages - 1) * middle_s, ends[-1])
        at = bisect_left(ends, before_s)
        rest = (ends[at] - before_s) / times[at] if times[at] else 0.0
        left_s = rest * in_place[at] + sum(in_place[at + 1 :]) + loss_s
        low_s, high_s = (middle_s, high_s) if left_s > middle_s else (low_s, middle_s)
    return high_s, ends
