"""Choose where to cut inside layers: where a perfectly even split would cut, measured, and no more than serves.

An even split of S stages cuts at the i/S-th part of the work, i = 1 … S − 1; under 1F1B the last stage updates in
place, which counts (``even_places``). A place inside a layer that can be cut becomes a cut between two of its
features. Then the blocks are measured, for a narrower product has an efficiency of its own and the concat costs,
too; so the even split's places move, and the cuts follow them once or twice, until the slowest stage is within 1% of an
even share.

Of what was tried the best is taken, and then layers are left whole one by one, as long as the slowest stage stays
within 1% of it. Every trial is the exact search's answer for its slicing, under the same limits and links. What gains
less than 2% in all is not worth it.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from math import inf
from typing import Literal

from optimizer.costs import NANOSECONDS, Costs, costs_of
from optimizer.schedule import PLAIN_1F1B, Pace
from profiler.profile import (
    PLAIN_FORM,
    Form,
    Layer,
    ModelCosts,
    Pieces,
    Precision,
    Profile,
    SlicedLayer,
    Slicing,
    lengths_of,
)

LEAST_GAIN = 0.02
"""By which share of the slowest stage another form has to pay."""
NEAR = 0.01
"""How near to the best a smaller slicing has to stay, and how near to an even share is even."""
TRIALS = 3
"""How often the cuts follow the even split's places."""
GRAIN = 16
"""Blocks have multiples of so many features, where a layer has many: kernels work on as many at a time."""

Cut = dict[str, Pieces]
Measure = Callable[[Sequence[tuple[Layer, Pieces]]], Sequence[SlicedLayer]]
"""Measures layers as profiled, each in blocks of so many features; not all where time is short."""
Bottleneck = Callable[[ModelCosts], float | None]
"""Returns the slowest stage of the best split of a model in seconds, or None where no split keeps to the limits."""
WhyWhole = Literal["even already", "none in the way", "not measured", "no gain", "too loud"]


@dataclass(frozen=True, slots=True)
class SlicingChoice:
    """The slicing that was chosen.

    Attributes:
        profile: With what was measured on the way.
        slicing: Which layers to cut inside; none where that is not worth it.
        gain: By which share the slowest stage is faster than with all layers whole; None where these fit nowhere, or
            where nobody asked.
        why_whole: Why no layer is cut inside; None where one is.
        unknown: The layers whose blocks would have been wanted and were not measured.
    """

    profile: Profile
    slicing: Slicing
    gain: float | None
    why_whole: WhyWhole | None = None
    unknown: tuple[str, ...] = ()


def measured(
    profile: Profile, cut: Mapping[str, Pieces], measure: Measure, precision: Precision = PLAIN_FORM.precision
) -> Profile:
    """Return the profile with these layers measured in blocks; what it knows already is not measured again."""
    model = profile.costs(Form(precision=precision))
    layers = {layer.name: layer for layer in model.layers}
    can = {layer.name: (layer.features, layer.uncuttable) for layer in model.layers}
    wanted = [(name, lengths_of(name, pieces, can)) for name, pieces in cut.items()]
    known = {(own.layer, own.lengths) for own in model.blocks}
    missing = [(layers[name], lengths) for name, lengths in wanted if (name, lengths) not in known]
    return replace(profile, blocks=(*profile.blocks, *measure(missing))) if missing else profile


def choose_slicing(
    profile: Profile,
    stages: int,
    bottleneck: Bottleneck,
    measure: Measure,
    pace: Pace = PLAIN_1F1B,
    *,
    precision: Precision = PLAIN_FORM.precision,
) -> SlicingChoice:
    """Return the slicing that serves ``stages`` stages best.

    Args:
        profile: The measurement.
        stages: The number of stages.
        bottleneck: Plans for a model in a form, under the limits and links that the plan is to keep.
        measure: Measures what is not known yet; nothing is asked for where the plan is even already.
        pace: The schedule that the plans are for.
        precision: In which layers run.
    """
    whole, unknown = Slicing(), tuple[str, ...]()
    why_whole: WhyWhole = "even already"
    tried = {whole: _slowest_s(profile.costs(Form(whole, precision)), bottleneck)}
    slicing = whole
    for _ in range(TRIALS):
        model = profile.costs(Form(slicing, precision))
        if tried[slicing] <= (1 + (NEAR if slicing else LEAST_GAIN)) * even_share_s(model, stages, pace):
            break
        cut = _following(model, stages, pace)
        profile = measured(profile, cut, measure, precision)
        known = {(own.layer, own.lengths) for own in profile.costs(Form(precision=precision)).blocks}
        slicing = Slicing.of({layer: lengths for layer, lengths in cut.items() if (layer, lengths) in known})
        why_whole, unknown = "no gain", ()
        if not cut:
            why_whole = "none in the way"
        elif not slicing:
            why_whole, unknown = "not measured", tuple(cut)
        if slicing in tried:
            break
        tried[slicing] = _slowest_s(profile.costs(Form(slicing, precision)), bottleneck)
    chosen = _smallest(profile, precision, tried, bottleneck)
    return chosen if chosen.slicing else replace(chosen, why_whole=why_whole, unknown=unknown)


def _slowest_s(model: ModelCosts, bottleneck: Bottleneck) -> float:
    """Return the slowest stage of a model in its form; infinite where no split keeps to the limits."""
    slowest_s = bottleneck(model)
    return inf if slowest_s is None else slowest_s


def even_share_s(model: ModelCosts, stages: int, pace: Pace = PLAIN_1F1B) -> float:
    """Return what each stage would take if a split could cut anywhere."""
    return _even(costs_of(model, pace), stages)[0]


def even_places(model: ModelCosts, stages: int, pace: Pace = PLAIN_1F1B) -> list[tuple[Layer, float]]:
    """Return the layer in which each cut of a perfectly even split lies, and which share of it stands before."""
    costs = costs_of(model, pace)
    (share_s, ends), weight_ns = _even(costs, stages), costs.weight_ns
    places = []
    for cut in range(1, stages):
        at = min(bisect_left(ends, cut * share_s), len(ends) - 1)
        own_s = weight_ns[at] / NANOSECONDS
        places.append((model.layers[at], 1 - (ends[at] - cut * share_s) / own_s if own_s else 1.0))
    return places


def _even(costs: Costs, stages: int) -> tuple[float, list[float]]:
    """Return the even share T, and the time up to each layer's end.

    S − 1 stages take T of the time; what is left over takes T less what it saves as the last. The more the first stages
    take the less is left, so T is found by bisection.
    """
    times = [weight_ns / NANOSECONDS for weight_ns in costs.weight_ns]
    in_place = [time_s - saving_ns / NANOSECONDS for time_s, saving_ns in zip(times, costs.saving_ns, strict=True)]
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


def _following(model: ModelCosts, stages: int, pace: Pace) -> Cut:
    """Return the cuts at the even split's places, as far as these lie in layers that can be cut."""
    own = {layer.name: layer for layer in model.profile.layers}
    starts = _starts(model)
    places: dict[str, set[int]] = {}
    for layer, share in even_places(model, stages, pace):
        whole = own[layer.part_of or layer.name]
        if layer.features and not whole.uncuttable and whole.features > 1:
            grain = GRAIN if whole.features >= 4 * GRAIN else 1
            place = grain * round((starts[layer.name] + share * layer.features) / grain)
            if 0 < place < whole.features:
                places.setdefault(whole.name, set()).add(place)
    return {
        name: tuple(b - a for a, b in pairwise([0, *sorted(places[name]), own[name].features]))
        for name in own
        if name in places
    }


def _starts(model: ModelCosts) -> dict[str, int]:
    """Return for each layer its first feature: of a block, within the layer that it is part of."""
    starts: dict[str, int] = {}
    before: dict[str, int] = {}
    for layer in model.layers:
        starts[layer.name] = before.get(layer.part_of, 0) if layer.part_of else 0
        before[layer.part_of] = starts[layer.name] + layer.features
    return starts


def _smallest(
    profile: Profile, precision: Precision, tried: dict[Slicing, float], bottleneck: Bottleneck
) -> SlicingChoice:
    """Return the best slicing that was tried, with the layers whole again that it can do without."""
    slicing, whole = min(tried, key=tried.__getitem__), Slicing()
    enough_s = (1 + NEAR) * tried[slicing]
    while slicing:
        for smaller in _with_one_whole(slicing):
            if smaller not in tried:
                tried[smaller] = _slowest_s(profile.costs(Form(smaller, precision)), bottleneck)
        smallest = min(_with_one_whole(slicing), key=tried.__getitem__)
        if tried[smallest] > enough_s:
            break
        slicing = smallest
    best_s, whole_s = tried[slicing], tried[whole]
    if not slicing or not gains(whole_s, best_s):
        return SlicingChoice(profile, whole, 0.0)
    return SlicingChoice(profile, slicing, None if whole_s == inf else whole_s / best_s - 1)


def gains(slow_s: float | None, fast_s: float | None) -> bool:
    """Say whether another form is worth it; None stands for one in which no split keeps the limits."""
    slow, fast = (inf if time_s is None else time_s for time_s in (slow_s, fast_s))
    return fast != inf and slow >= (1 + LEAST_GAIN) * fast


def _with_one_whole(slicing: Slicing) -> list[Slicing]:
    pieces = slicing.pieces
    return [Slicing.of({other: own for other, own in pieces.items() if other != name}) for name in pieces]


def why_whole(choice: SlicingChoice) -> str:
    """Return the reason why no layer is cut inside."""
    reasons = {
        "even already": "the split is even already",
        "none in the way": "no layer that can be cut is in the way of an even split",
        "not measured": f"what {', '.join(choice.unknown)} would cost in blocks is not known",
        "no gain": f"no slicing makes the slowest stage {LEAST_GAIN:.0%} faster",
        "too loud": "the machine was too loud to tell whether that pays",
    }
    return f"no layer is cut inside, for {reasons[choice.why_whole or 'no gain']}"
