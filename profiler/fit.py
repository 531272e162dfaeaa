"""Carry a profile over to batch sizes that were not measured: every cost is a straight line, start + slope × batch.

For the measured batch sizes b₀ < b₁ < b₂ the line of each layer's time t minimises Σ ((start + slope·bᵢ − tᵢ) ÷ tᵢ)²,
so that a small batch counts as much as a large one. A line is kept as its two ends, which are profiles themselves, and
anything between is interpolated. Sizes in bytes and operations are straight lines by nature. The stated error is that
of the line through the two ends alone at b₁, which was measured and took no part in that line. Outside the ends nothing
is claimed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta

from profiler.errors import ProfilerError
from profiler.types import Layer, Loss, Profile, Timing, parts_s

LARGEST_LAYERS = 10
SIZES = (
    "output_bytes", "gradient_bytes", "saved_bytes", "transient_bytes", "flops", "backward_flops", "touched_bytes",
    "backward_touched_bytes",
)  # fmt: skip
"""What of a layer grows with the batch, beside its times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A profile for every batch size from that of ``low`` to that of ``high``; a JSON file as a profile is.

    Attributes:
        low: The lower end of all lines.
        high: The upper end.
        checked_batch_size: Where the error was found, against a measured profile.
        step_error: (parts fitted − parts measured) ÷ parts measured.
        layer_error: The largest error of one of the ten costliest layers, as a share of that layer's time.
    """

    kind: Literal["fit"] = "fit"
    low: Profile
    high: Profile
    checked_batch_size: Annotated[int, Meta(ge=1)]
    step_error: float
    layer_error: Annotated[float, Meta(ge=0)]
    format_version: Literal[1] = 1

    def __post_init__(self) -> None:
        """Refuse two ends that do not belong together.

        Raises:
            ValueError: They do not.
        """
        pairs = zip((*self.low.layers, self.low), (*self.high.layers, self.high), strict=False)
        same = all(getattr(one, "name", "") == getattr(other, "name", "") for one, other in pairs)
        same = same and len(self.low.layers) == len(self.high.layers)
        if not same or self.low.model_digest != self.high.model_digest or self.low.batch_size >= self.high.batch_size:
            raise ValueError("its two ends are not profiles of one model at ascending batch sizes")
        if not (self.low.complete and self.high.complete):
            raise ValueError("one of its ends is what an interrupt left over")

    def at(self, batch_size: int) -> Profile:
        """Return the profile for ``batch_size``.

        Raises:
            ProfilerError: It lies outside of the fit.
        """
        first, last = self.low.batch_size, self.high.batch_size
        if not first <= batch_size <= last:
            raise ProfilerError(
                f"the fit of {self.low.model} answers for batch sizes {first} to {last}, not for {batch_size}; "
                "fit again with --fit, or profile that batch size"
            )
        share = (batch_size - first) / (last - first)
        low, high = self.low, self.high
        whole_step_s = _mix(low.whole_step_s, high.whole_step_s, share)
        layers = tuple(_layer(*ends, share) for ends in zip(low.layers, high.layers, strict=True))
        found = replace(
            low,
            batch_size=batch_size,
            input_shape=(batch_size, *low.input_shape[1:]),
            layers=layers,
            loss=_loss(low.loss, high.loss, share),
            input_bytes=round(_mix(low.input_bytes, high.input_bytes, share)),
            peak_memory_bytes=None,
            whole_step_s=whole_step_s,
            whole_step=_timing(low.whole_step, high.whole_step, share, whole_step_s) or low.whole_step,
            neighbours=0,
            loaded_step=None,
            precision=max(low.precision, high.precision),
            rounds=min(low.rounds, high.rounds),
            fit_error=self.step_error,
        )
        return replace(found, closure_error=parts_s(found.layers, found.loss) / whole_step_s - 1)


def fit(profiles: Sequence[Profile]) -> Fit:
    """Fit three profiles of one model at different batch sizes.

    Raises:
        ProfilerError: They are not of one model, input, update rule and machine, or not at three batch sizes.
    """
    low, middle, high = _checked(sorted(profiles, key=lambda profile: profile.batch_size))
    guess = through_ends(low, high)
    held_out = guess.at(middle.batch_size)
    largest = sorted(range(len(middle.layers)), key=lambda at: middle.layers[at].step_s)[-LARGEST_LAYERS:]
    errors = [abs(held_out.layers[at].step_s / middle.layers[at].step_s - 1) for at in largest]
    ends = _ends(low, middle, high)
    return replace(
        guess,
        low=ends[0],
        high=ends[1],
        checked_batch_size=middle.batch_size,
        step_error=parts_s(held_out.layers, held_out.loss) / parts_s(middle.layers, middle.loss) - 1,
        layer_error=max(errors),
    )


def through_ends(low: Profile, high: Profile) -> Fit:
    """Return the fit that knows two profiles and has not been checked."""
    return Fit(low=low, high=high, checked_batch_size=low.batch_size, step_error=0.0, layer_error=0.0)


def _checked(profiles: Sequence[Profile]) -> Sequence[Profile]:
    first = profiles[0]
    for other in profiles[1:]:
        same = (first.model_digest, first.input_shape[1:], first.update_rule, first.machine)
        if (other.model_digest, other.input_shape[1:], other.update_rule, other.machine) != same:
            raise ProfilerError(
                f"the profiles of {first.model} at batch {first.batch_size} and of {other.model} at batch "
                f"{other.batch_size} differ in more than the batch size; profile both anew on one machine"
            )
    if len({profile.batch_size for profile in profiles}) != 3 or len(profiles) != 3:
        raise ProfilerError("a fit needs profiles at three batch sizes; give --fit 1,4,16, say")
    return profiles


def _ends(low: Profile, middle: Profile, high: Profile) -> tuple[Profile, Profile]:
    """Return ``low`` and ``high`` with every time moved onto the line of its layer."""
    batches = [profile.batch_size for profile in (low, middle, high)]

    def line(items: Sequence[Layer | Loss]) -> tuple[dict[str, Any], dict[str, Any]]:
        lines = {name: _line(batches, [getattr(item, name) for item in items]) for name in _times(items[0])}
        first, last = ({name: max(0.0, at(batch)) for name, at in lines.items()} for batch in (batches[0], batches[2]))
        return first, last

    lines = [line(items) for items in zip(low.layers, middle.layers, high.layers, strict=True)]
    losses = line((low.loss, middle.loss, high.loss))
    first, last = (
        replace(
            profile,
            layers=tuple(replace(layer, **found[end]) for layer, found in zip(profile.layers, lines, strict=True)),
            loss=replace(profile.loss, **losses[end]),
        )
        for end, profile in enumerate((low, high))
    )
    return first, last


def _line(batches: Sequence[int], times_s: Sequence[float]) -> Callable[[float], float]:
    """Return the line of least relative squares, or of least squares where a time is 0."""
    weights = [1 / time_s if min(times_s) > 0 else 1.0 for time_s in times_s]
    slope, start = np.polyfit(np.array(batches, dtype=float), np.array(times_s), 1, w=np.array(weights))
    return lambda batch: float(start + slope * batch)


def _layer(low: Layer, high: Layer, share: float) -> Layer:
    sizes: dict[str, Any] = {name: round(_mix(getattr(low, name), getattr(high, name), share)) for name in SIZES}
    return replace(low, loaded=None, **_timed(low, high, share), **sizes)


def _loss(low: Loss, high: Loss, share: float) -> Loss:
    return replace(low, loaded=None, **_timed(low, high, share))


def _timed(low: Layer | Loss, high: Layer | Loss, share: float) -> dict[str, Any]:
    """Return the interpolated times, and the intervals shifted to stand around them."""
    found: dict[str, Any] = {}
    for name in _times(low):
        found[name] = _mix(getattr(low, name), getattr(high, name), share)
        kept = name.removesuffix("_s")
        found[kept] = _timing(getattr(low, kept), getattr(high, kept), share, found[name])
    return found


def _timing(low: Timing | None, high: Timing | None, share: float, median_s: float) -> Timing | None:
    if low is None or high is None:
        return None
    below, above = (
        _mix(abs(getattr(low, name) - low.median_s), abs(getattr(high, name) - high.median_s), share)
        for name in ("low_s", "high_s")
    )
    return Timing(median_s=median_s, low_s=max(0.0, median_s - below), high_s=median_s + above)


def _times(item: Layer | Loss) -> tuple[str, ...]:
    return ("forward_s", "backward_s", "update_s") if isinstance(item, Layer) else ("forward_s", "backward_s")


def _mix(low: float, high: float, share: float) -> float:
    return low + (high - low) * share
