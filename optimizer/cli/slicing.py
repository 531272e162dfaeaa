"""Cut layers inside: what ``--slice`` says, measured where the profile does not know it yet."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optimizer.planning import Bottleneck, Measure, choose_slicing, measured, slicing_sentence
from optimizer.schedule import Pace
from profiler.cli import note, progress
from profiler.errors import ConfigError, ProfilerError
from profiler.profile import Layer, Pieces, Profile, SlicedLayer, parse_slicing, sliced_profile
from profiler.settings import Config

AUTO, NONE = "auto", "none"
BUDGET_S = 30.0
"""How long measuring blocks may take in all."""


@dataclass(frozen=True, slots=True)
class Sliced:
    """A profile, and with layers cut inside.

    Attributes:
        whole: The profile with all that was measured.
        inside: The same with the layers cut; None where none is.
        sentence: What was cut, what it gains and costs, or why no layer is cut inside.
    """

    whole: Profile
    inside: Profile | None
    sentence: str


def refuse_odd_slicing(text: str) -> None:
    """Refuse what ``--slice`` or a configuration cannot say.

    Raises:
        ConfigError: It is neither ``auto`` nor ``none`` nor a slicing.
    """
    if is_explicit(text) and not parse_slicing(text):
        raise ConfigError("the slicing is empty; write auto, none, or classifier.1=4, say")


def is_explicit(text: str) -> bool:
    """Say whether ``--slice`` names layers."""
    return text not in (AUTO, NONE)


def sliced_as(
    config: Config,
    profile: Profile,
    bottleneck: Bottleneck,
    core: int,
    keep: Callable[[Sequence[SlicedLayer]], None] | None,
    *,
    stages: int,
    pace: Pace,
    quiet: bool,
) -> Sliced:
    """Cut the layers of a profile as ``config.slice`` says.

    Args:
        config: What the profile is of.
        profile: One in which all layers are whole.
        bottleneck: Plans for a profile, under all limits that the plan is to keep.
        core: Where blocks are measured.
        keep: Keeps what is measured now; None where nothing can be measured.
        stages: For how many stages ``auto`` chooses.
        pace: For which schedule it does.
        quiet: Whether to show no progress.

    Raises:
        ConfigError: A layer is not there or cannot be cut like that, or was not measured and cannot be.
    """
    if config.slice == NONE or stages == 1:
        return Sliced(profile, None, "")
    measure = _measuring(config, core, profile.precision, quiet=quiet) if keep else lambda _wanted: ()
    gain: float | None = None
    if is_explicit(config.slice):
        text, reason = config.slice, ""
        found = measured(profile, parse_slicing(text), measure)
    else:
        chosen = choose_slicing(profile, stages, bottleneck, measure, pace)
        text, found, gain, reason = chosen.text, chosen.profile, chosen.gain, chosen.reason
    if keep and found != profile:
        keep(found.blocks)
    if not text:
        return Sliced(found, None, f"no layer is cut inside, for {reason}")
    inside = sliced_profile(found, text)
    return Sliced(found, inside, slicing_sentence(inside, gain))


def _measuring(config: Config, core: int, precision: str, *, quiet: bool) -> Measure:
    """Return what measures blocks: all that an explicit slicing wants; for ``auto``, as many as there is time for."""
    explicit = is_explicit(config.slice)
    until_s = math.inf if explicit else time.monotonic() + BUDGET_S

    def measure(wanted: Sequence[tuple[Layer, Pieces]]) -> Sequence[SlicedLayer]:
        from profiler.measure import measure_blocks

        layers = ", ".join(dict.fromkeys(layer.name for layer, _ in wanted))
        alone = [(layer.casting_inputs(0.0, 0), pieces) for layer, pieces in wanted]
        note(f"{config.model}: measuring {layers} in blocks", quiet=quiet)
        try:
            with progress("blocks", 1, quiet=quiet) as advance:
                return measure_blocks(
                    config, alone, core, until_s, lambda share: advance(share, config.model), precision=precision
                )
        except ProfilerError as error:
            if explicit:
                raise
            note(f"{config.model}: {layers} cannot be measured in blocks and stay whole: {error}", quiet=False)
            return ()

    return measure
