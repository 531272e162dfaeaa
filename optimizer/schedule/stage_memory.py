"""Memory of a stage in bytes, by its place in the pipeline.

For a stage s of the layers I∖J with H_s minibatches in flight, at most A_s of them before their backward, w_s weight
versions, and a_s slots for activations and g_s for gradients behind it, as the schedule has them
(``stage_requirements``),

    memory(J, I, s) = Σ_{v ∈ I∖J} [frozen + learning · (w_s versions + gradient + momentum)
                                   + (saved − casts) · A_s + left · (H_s − A_s) + casts · w_s](v)
                      + max_{v ∈ I∖J} transient(v) + heap
                      + down(I) · a_s + up(I) · g_s + down(J) · a_{s−1} + up(J) · g_{s−1}

where heap is what a whole step was measured to take beyond its parts, for a heap has holes and kernels keep memory of
their own, and down(I) and up(I) are the bytes that cross the cut behind I: both neighbours map the rings. Casts are
weights in bfloat16, which minibatches on the same version share. The last stage counts as any other. All but the
transient and the heap is a difference of two prefix sums and one term for either cut, as the time of a stage is.

Source: weight versions and minibatches in flight of PipeDream's 1F1B (SOSP 2019, section 3.3).
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from optimizer.schedule.schedule import Schedule
from optimizer.schedule.stage_requirements import stage_requirements

Amount = TypeVar("Amount", int, NDArray[np.int64])


@dataclass(frozen=True, slots=True)
class Factors:
    """How often a stage holds each kind of bytes.

    Attributes:
        learning: Of parameters that learn: versions, gradient and momentum.
        saved: Of what is kept for the backward, casts of weights left out; ``left``, of what is kept between its two
            parts, where it is split.
        casts: Of these, which is once a version.
        behind: Of the activations, and of the gradients, that cross the cut behind the stage; likewise ``before``.
    """

    learning: int
    saved: int
    left: int
    casts: int
    behind: tuple[int, int]
    before: tuple[int, int]

    def held_bytes(self, frozen: Amount, learning: Amount, saved: Amount, left: Amount, casts: Amount) -> Amount:
        """Return what is held of layers, given their bytes of each kind; ``casts`` are among ``saved``."""
        held = frozen + learning * self.learning + (saved - casts) * self.saved + casts * self.casts
        return held + left * self.left

    def behind_bytes(self, activations: Amount, gradients: Amount) -> Amount:
        """Return what the slots behind the stage take, given the bytes that cross the cut there, down and up."""
        return activations * self.behind[0] + gradients * self.behind[1]

    def before_bytes(self, activations: Amount, gradients: Amount) -> Amount:
        """Return likewise what the slots before the stage take."""
        return activations * self.before[0] + gradients * self.before[1]


def factors(schedule: Schedule, stage: int, momenta: int) -> Factors:
    """Return the factors of ``stage``; ``momenta`` is how many tensors the update rule keeps for a parameter."""
    own = stage_requirements(schedule, stage)
    saved = min(own.in_flight, schedule.pace.ahead(schedule.stages, stage))
    upper = stage_requirements(schedule, stage - 1) if stage else None
    return Factors(
        learning=own.versions + 1 + momenta,
        saved=saved,
        left=own.in_flight - saved,
        casts=own.versions,
        behind=(own.activation_slots, own.gradient_slots),
        before=(upper.activation_slots, upper.gradient_slots) if upper else (0, 0),
    )
