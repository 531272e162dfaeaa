"""Cut layers inside: what ``--slice`` says, measured where the profile does not know it yet."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from optimizer.costs import refuse_contradictions
from optimizer.planning import Measure, choose_slicing, measured, slicing_sentence
from profiler.cli import note, progress
from profiler.files import to_json, write_whole
from profiler.profile import Layer, Pieces, Profile, SlicedLayer, parse_slicing, sliced_profile
from profiler.settings import Config

AUTO, NONE = "auto", "none"
BUDGET_S = 25.0
"""After how long no more blocks are measured; those that have begun end within 30 s."""


@dataclass(frozen=True, slots=True)
class Sliced:
    """A profile, and with layers cut inside.

    Attributes:
        whole: The profile with all that was measured.
        inside: The same with the layers cut; None where none is.
        sentence: What was cut, what it gains and costs.
    """

    whole: Profile
    inside: Profile | None
    sentence: str


def refuse_odd_slicing(text: str) -> None:
    """Refuse what ``--slice`` or a configuration cannot say.

    Raises:
        ConfigError: It is neither ``auto`` nor ``none`` nor a slicing.
    """
    if text not in (AUTO, NONE):
        parse_slicing(text)


def sliced_as(config: Config, profile: Profile, stages: int, core: int, kept: Path | None, *, quiet: bool) -> Sliced:
    """Cut the layers of a profile as ``config.slice`` says.

    Args:
        config: What the profile is of.
        profile: One in which all layers are whole.
        stages: For how many stages ``auto`` chooses.
        core: Where blocks are measured.
        kept: Where the profile is kept, with what is measured now; None where nothing can be measured.
        quiet: Whether to show no progress.

    Raises:
        ProfileError: The profile contradicts itself.
        ConfigError: A layer is not there or cannot be cut like that, or was not measured and cannot be.
    """
    refuse_contradictions(profile)
    if config.slice == NONE or stages == 1:
        return Sliced(profile, None, "")
    budget_s = BUDGET_S if config.slice == AUTO else math.inf
    measure = _measuring(config, core, budget_s, quiet=quiet) if kept else lambda _wanted: ()
    if config.slice == AUTO:
        chosen = choose_slicing(profile, stages, measure)
        text, found, gain = chosen.text, chosen.profile, chosen.gain
    else:
        found = measured(profile, parse_slicing(config.slice), measure)
        text, gain = config.slice, None
    if kept and found != profile:
        write_whole(kept, to_json(found))
    inside = sliced_profile(found, text) if text else None
    return Sliced(found, inside, slicing_sentence(inside or found, gain))


def _measuring(config: Config, core: int, budget_s: float, *, quiet: bool) -> Measure:
    until_s = time.monotonic() + budget_s

    def measure(wanted: Sequence[tuple[Layer, Pieces]]) -> Sequence[SlicedLayer]:
        from profiler.measure import measure_blocks

        left_s = until_s - time.monotonic()
        if left_s <= 0:
            return ()
        layers = ", ".join(dict.fromkeys(layer.name for layer, _ in wanted))
        note(f"{config.model}: measuring {layers} in blocks", quiet=quiet)
        with progress("blocks", 1, quiet=quiet) as advance:
            return measure_blocks(config, wanted, core, left_s, lambda share: advance(share, config.model))

    return measure
