"""Run layers in bfloat16: what ``--precision`` says, and what it gains over float32."""

from dataclasses import dataclass

from optimizer.costs import refuse_contradictions
from optimizer.planning import Bottleneck, PrecisionChoice, choose_precision
from optimizer.schedule import Pace
from profiler.profile import AUTO, BF16, FP32, Profile, in_precision, precision_words
from profiler.settings import Config


@dataclass(frozen=True, slots=True)
class Lowered:
    """A profile in float32, and in the precision that was chosen.

    Attributes:
        full: In float32, or in the one that is asked for.
        lower: In a faster one; None where there is none, or nobody asked for one.
        sentence: Which precision was chosen, what it gains, or why none is.
    """

    full: Profile
    lower: Profile | None
    sentence: str


def lowered_as(config: Config, profile: Profile, bottleneck: Bottleneck, pace: Pace) -> Lowered:
    """Put the layers of a profile in the precision that ``config`` asks for.

    Args:
        config: What the profile is of.
        profile: As it was measured.
        bottleneck: Plans for a profile, under all limits that the plan is to keep.
        pace: The schedule that is planned for.

    Raises:
        ProfileError: The profile contradicts itself.
        ConfigError: It says nothing of bfloat16, which is asked for.
    """
    if config.precision == BF16:
        return Lowered(in_precision(profile, BF16), None, "")
    full = in_precision(profile, FP32)
    if config.precision != AUTO:
        return Lowered(full, None, "")
    if profile.lowered is None:
        return Lowered(full, None, f"layers run in {FP32}, for the profile says nothing of {BF16}")
    refuse_contradictions(full)
    refuse_contradictions(in_precision(profile, BF16))
    choice = choose_precision(profile, bottleneck, pace)
    if choice.precision == FP32:
        return Lowered(full, None, _why_full(choice))
    return Lowered(full, in_precision(profile, choice.precision), _gains(profile, choice))


def _why_full(choice: PrecisionChoice) -> str:
    gain = choice.lower_gain
    if gain is None:
        return f"layers run in {FP32}, for {BF16} keeps no limit"
    than = f"{gain:.0%} faster" if gain >= 0 else f"{-gain:.0%} slower"
    return f"layers run in {FP32}: in {BF16} the slowest stage is {than}, casts of weights included"


def _gains(profile: Profile, choice: PrecisionChoice) -> str:
    than = "no limit is kept in" if choice.gain is None else f"the slowest stage is {choice.gain:.0%} faster than in"
    return f"layers run in {precision_words(choice.precision)}, of {len(profile.layers)}: {than} {FP32}"
