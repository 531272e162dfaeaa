"""Profiles whose layers took a known time in each round."""

from collections.abc import Sequence
from dataclasses import replace

from profiler.profile import Profile


def with_rounds(found: Profile, factors: Sequence[Sequence[float]]) -> Profile:
    """Let each layer take its times ``factors[layer][round]`` times as long, and the loss always the same."""
    count = len(factors[0])
    layers = tuple(
        replace(layer, rounds_s=tuple(layer.step_s * factor for factor in own))
        for layer, own in zip(found.layers, factors, strict=True)
    )
    return replace(found, layers=layers, loss=replace(found.loss, rounds_s=(found.loss.step_s,) * count), rounds=count)
