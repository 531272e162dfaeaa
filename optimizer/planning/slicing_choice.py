"""Choose which layers to cut inside, and into how many blocks: the smallest slicing that is near the best.

A perfectly even split of S stages would cut at the i/S-th part of the work, i = 1 … S − 1. The layers in which these
places lie keep a plan from balance; only they are cut. Each is measured in 2, 4 and 8 blocks. Once a layer is cut its
blocks take longer than it did, so the places move, and other layers may follow.

With every layer in as many blocks as serves best as the beginning, the slicing is made smaller step by step: a layer's
blocks are halved, or it is left whole, as long as the slowest stage stays within 1% of the best that was seen. Every
step is the exact search's answer for its slicing. What gains less than 2% in all is not worth it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from optimizer.costs import NANOSECONDS, Problem, costs_of
from optimizer.search import solve, space_of
from profiler.profile import Layer, Profile, SlicedLayer, parse_slicing, parts_s, sliced_profile, slicing_text

COUNTS = (4, 8, 2)
"""Into how many blocks a layer is tried to be cut, in the order in which that is measured."""
LEAST_GAIN = 0.02
"""By which share of the slowest stage slicing has to pay."""
NEAR = 0.01
"""How near to the best a smaller slicing has to stay."""
MOST_LAYERS = 8
"""So many layers are cut at most."""

Measure = Callable[[Sequence[tuple[str, int]]], Sequence[SlicedLayer]]
"""Measures layers, each in so many blocks."""


@dataclass(frozen=True, slots=True)
class Slicing:
    """What was chosen: the profile with what was measured on the way, and the slicing; nothing if none is worth it."""

    profile: Profile
    text: str
    gain: float


def measured(profile: Profile, wanted: Sequence[tuple[str, int]], measure: Measure) -> Profile:
    """Return the profile with these layers measured in so many blocks; what it knows already is not measured again."""
    known = _known(profile)
    missing = [(layer, count) for layer, count in wanted if count not in known.get(layer, ())]
    return replace(profile, blocks=(*profile.blocks, *measure(missing))) if missing else profile


def choose_slicing(profile: Profile, stages: int, measure: Measure) -> Slicing:
    """Return the slicing that serves ``stages`` stages best.

    Args:
        profile: One in which all layers are whole.
        stages: The number of stages.
        measure: Measures what is not known yet; nothing is asked for where the plan is even already.
    """
    whole_ns = _bottleneck_ns(profile, stages)
    even_s = parts_s(profile.layers, profile.loss) / stages
    counts: dict[str, int] = {}
    if whole_ns is None or even_s == 0 or whole_ns <= (1 + LEAST_GAIN) * even_s * NANOSECONDS:
        return Slicing(profile, "", 0.0)
    while len(counts) < MOST_LAYERS:
        layers = in_the_way(sliced_profile(profile, slicing_text(counts)), stages)
        new = [layer for layer in layers if layer.name not in _known(profile)]
        wanted = [(layer.name, count) for count in COUNTS for layer in new if count <= layer.features]
        profile = measured(profile, wanted, measure)
        known = _known(profile)
        found = {layer.name: most for layer in layers if (most := max(known.get(layer.name, ()), default=0))}
        if not found:
            break
        counts |= found
    return _smallest(profile, stages, counts, whole_ns)


def _known(profile: Profile) -> dict[str, set[int]]:
    """Return the numbers of blocks in which each layer was measured."""
    known: dict[str, set[int]] = {}
    for own in profile.blocks:
        known.setdefault(own.layer, set()).add(len(own.parts) - 1)
    return known


def in_the_way(profile: Profile, stages: int) -> list[Layer]:
    """Return the layers that can be cut and in which a perfectly even split would cut."""
    whole_s = parts_s(profile.layers, profile.loss)
    ends = list(accumulate(layer.step_s for layer in profile.layers))
    found: dict[str, Layer] = {}
    for cut in range(1, stages):
        at = next((place for place, end_s in enumerate(ends) if end_s >= whole_s * cut / stages), None)
        if at is not None and profile.layers[at].features > 1:
            found[profile.layers[at].name] = profile.layers[at]
    return list(found.values())


def _smallest(profile: Profile, stages: int, counts: Mapping[str, int], whole_ns: int) -> Slicing:
    known = _known(profile)
    seen: dict[str, int] = {"": whole_ns}

    def bottleneck_ns(tried: Mapping[str, int]) -> int:
        text = slicing_text(tried)
        if text not in seen:
            found = _bottleneck_ns(sliced_profile(profile, text), stages)
            seen[text] = whole_ns if found is None else found
        return seen[text]

    alike = [{layer: count if count in known[layer] else most for layer, most in counts.items()} for count in COUNTS]
    current = min([dict(counts), *alike], key=bottleneck_ns)
    while True:
        smaller = sorted(_smaller(current, known), key=bottleneck_ns)
        if not smaller or bottleneck_ns(smaller[0]) > (1 + NEAR) * min(seen.values()):
            break
        current = smaller[0]
    gain = whole_ns / bottleneck_ns(current) - 1
    return Slicing(profile, slicing_text(current), gain) if gain >= LEAST_GAIN else Slicing(profile, "", 0.0)


def _smaller(counts: Mapping[str, int], known: Mapping[str, set[int]]) -> list[dict[str, int]]:
    """Return the slicings in which one layer has half the blocks, or is whole."""
    found = []
    for layer, count in counts.items():
        others = {other: own for other, own in counts.items() if other != layer}
        found.append(others)
        if count // 2 in known[layer]:
            found.append({**counts, layer: count // 2})
    return found


def _bottleneck_ns(profile: Profile, stages: int) -> int | None:
    problem = Problem(costs_of(profile), stages, stages)
    solution = solve(problem, space_of(problem)) if len(problem.costs.parts) >= stages else None
    return None if solution is None else problem.bottleneck_ns(solution.bounds)


def slicing_sentence(profile: Profile, gain: float | None) -> str:
    """Say what a sliced profile's slicing gains, if that was worked out, and what it costs."""
    if not profile.slicing:
        return f"no layer is cut inside, for none makes the slowest stage {LEAST_GAIN:.0%} faster"
    cut = " and ".join(f"{layer} into {count} blocks" for layer, count in parse_slicing(profile.slicing).items())
    whole_s = sum(layer.step_s for layer in profile.uncut)
    parts = [layer for layer in profile.layers if layer.part_of]
    concat_s = sum(layer.step_s for layer in parts if layer.kind == "Concat")
    narrower_s = sum(layer.step_s for layer in parts) - concat_s - whole_s
    gains = "" if gain is None else f"the slowest stage is {gain:.0%} faster; "
    return (
        f"cut inside: {cut}; {gains}of {whole_s * 1e3:.1f} ms whole, the concat costs {concat_s * 1e3:+.1f} ms and "
        f"narrower products {narrower_s * 1e3:+.1f} ms"
    )
