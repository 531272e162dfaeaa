"""Measure blocks of layers where planning asks for them, and keep what was measured with the profile."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import profiler.measure
from profiler.cli import note, note_anyway, progress
from profiler.errors import ProfilerError
from profiler.files import to_json, write_whole
from profiler.profile import AUTO, Layer, Pieces, Precision, Profile
from profiler.settings import Config

if TYPE_CHECKING:
    from optimizer.planning import Blocks, MeasureBlocks

BUDGET_S = 30.0
"""How long measuring blocks in a precision may take in all, where nobody has named them."""


def measuring_blocks(config: Config, profile: Profile, kept: Path, core: int) -> "MeasureBlocks":
    """Return what measures blocks on ``core`` and keeps them in the file of the profile.

    All that an explicit slicing wants is measured; for ``auto``, as many as there is time for.
    """
    explicit, latest, until_s = config.slice != AUTO, [profile], dict[Precision, float]()

    def measure(precision: Precision, wanted: Sequence[tuple[Layer, Pieces]]) -> "Blocks":
        budget_s = math.inf if explicit else BUDGET_S
        deadline_s = until_s.setdefault(precision, time.monotonic() + budget_s)
        layers = ", ".join(dict.fromkeys(layer.name for layer, _ in wanted))
        alone = [(layer.casting_inputs(0.0, 0), pieces) for layer, pieces in wanted]
        note(f"{config.name}: measuring {layers} in blocks")
        try:
            with progress("blocks", 1) as advance:
                blocks = profiler.measure.measure_blocks(
                    config, alone, core, deadline_s, lambda share: advance(share, config.name), precision=precision
                )
        except ProfilerError as error:
            if explicit:
                raise
            note_anyway(f"{config.name}: {layers} cannot be measured in blocks and stay whole: {error}")
            return ()
        if blocks:
            latest[0] = replace(latest[0], blocks=(*latest[0].blocks, *blocks))
            write_whole(kept, to_json(latest[0]))
        return blocks

    return measure
