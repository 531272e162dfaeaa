"""Profiles whose layers took a known time in each round."""

from collections.abc import Sequence
from dataclasses import replace

from profiler.profile import Profile, Timing
from profiler.rounds.statistics import timing


def with_rounds(found: Profile, factors: Sequence[Sequence[float]]) -> Profile:
    """Let each layer take its times ``factors[layer][round]`` times as long, and the loss always the same."""
    count = len(factors[0])
    layers = tuple(
        replace(
            layer,
            forward=_timed(layer.forward_s, own),
            backward=_timed(layer.backward_s, own),
            update=_timed(layer.update_s, own),
        )
        for layer, own in zip(found.layers, factors, strict=True)
    )
    steady = [1.0] * count
    loss = replace(
        found.loss,
        forward=_timed(found.loss.forward_s, steady),
        backward=_timed(found.loss.backward_s, steady),
    )
    return replace(found, layers=layers, loss=loss, rounds=count)


def _timed(seconds: float, factors: Sequence[float]) -> Timing:
    return timing([seconds * factor for factor in factors])
