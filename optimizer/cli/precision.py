"""Run layers in bfloat16: what ``--precision`` says, and what it gains over float32."""

from math import inf

from optimizer.planning import Bottleneck, choose_precision, pays
from optimizer.schedule import Pace
from profiler.profile import AUTO, BF16, FP32, Profile, float32_layers, in_precision
from profiler.settings import Config


def precisions_of(
    config: Config, profile: Profile, bottleneck: Bottleneck, pace: Pace
) -> tuple[Profile, Profile | None, str]:
    """Return a profile in the precision that is asked for and, for ``auto``, in a lower one that may be faster.

    Args:
        config: What the profile is of.
        profile: As it was measured.
        bottleneck: What tells how fast stages of a profile can be, under all limits that the plan is to keep.
        pace: The schedule that is planned for.

    Returns:
        The two profiles, and why there is no second one where one is asked for.

    Raises:
        ConfigError: It says nothing of bfloat16, which is asked for.
    """
    if config.precision == BF16:
        return in_precision(profile, BF16), None, ""
    full = in_precision(profile, FP32)
    if config.precision != AUTO:
        return full, None, ""
    if profile.lowered is None:
        return full, None, f"layers run in {FP32}, for the profile says nothing of {BF16}"
    chosen = choose_precision(profile, bottleneck, pace).precision
    if chosen == FP32:
        return full, None, NOTHING_GAINED
    return full, in_precision(profile, chosen), ""


NOTHING_GAINED = f"layers run in {FP32}: no choice of layers in {BF16} makes the slowest stage 2% faster"


def verdict(precision: str, layers: int, full_s: float | None, lower_s: float | None) -> tuple[bool, str]:
    """Say whether the slowest stage in a precision is enough faster than that in float32, and by how much.

    Args:
        precision: As it is written.
        layers: How many layers the model has.
        full_s: The slowest stage in float32; None where no split keeps the limits.
        lower_s: Likewise in the precision.
    """
    full, lower = (inf if slowest_s is None else slowest_s for slowest_s in (full_s, lower_s))
    if not pays(full, lower):
        return False, NOTHING_GAINED
    stay = float32_layers(precision) or ()
    which = f"all {layers} layers run in {BF16}"
    if stay:
        which = f"{layers - len(stay)} of {layers} layers run in {BF16}, {len(stay)} in {FP32}"
    if full == inf:
        return True, f"{which}: in {FP32} no split keeps the limits"
    return True, f"{which}: the slowest stage is {full / lower - 1:.0%} faster than in {FP32}"
