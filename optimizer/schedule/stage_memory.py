"""Memory of a stage in bytes, by its place in the pipeline.

For a stage s of the layers I∖J with d_s minibatches in flight and w_s weight versions, as the schedule has them (1f1b:
d_s = min(S − s, minibatches), w_s = d_s; 2bw: w_s = 2; with a flush: w_s = 1),

    memory(J, I, s) = Σ_{v ∈ I∖J} [frozen + learning · (w_s versions + gradient + momentum)
                                   + (saved − casts) · d_s + casts · w_s](v)
                      + max_{v ∈ I∖J} transient(v) + heap + slots(I) · d_s + slots(J) · d_{s−1}

where heap is what a whole step was measured to take beyond its parts, for a heap has holes and kernels keep memory of
their own, and slots(I) are the values that cross the cut behind I, down and up: the ring between two stages holds one
slot for each minibatch that the upper one has in flight, and both map it. Casts are weights in bfloat16, which
minibatches on the same version share. The last stage counts as any other. All but the transient and the heap is a
difference of two prefix sums and one term for either cut, as the time of a stage is.

Source: weight versions and minibatches in flight of PipeDream's 1F1B (SOSP 2019, section 3.3).
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from optimizer.schedule.schedule import Pace

Amount = TypeVar("Amount", int, NDArray[np.int64])


@dataclass(frozen=True, slots=True)
class Factors:
    """How often a stage holds each kind of bytes.

    Attributes:
        learning: Of parameters that learn: versions, gradient and momentum.
        saved: Of what is kept for the backward, casts of weights left out.
        casts: Of these, which is once a version.
        behind: Of what crosses the cut behind the stage.
        before: Of what crosses the cut before it.
    """

    learning: int
    saved: int
    casts: int
    behind: int
    before: int

    def held_bytes(self, frozen: Amount, learning: Amount, saved: Amount, casts: Amount) -> Amount:
        """Return what is held of layers, given their bytes of each kind; ``casts`` are among ``saved``."""
        return frozen + learning * self.learning + (saved - casts) * self.saved + casts * self.casts

    def slot_bytes(self, before: Amount, behind: Amount) -> Amount:
        """Return what the slots on either side take, given the bytes that cross the cuts there."""
        return before * self.before + behind * self.behind


def factors(pace: Pace, stage: int, stages: int, minibatches: int, momenta: int) -> Factors:
    """Return the factors of ``stage``; ``momenta`` is how many tensors the update rule keeps for a parameter."""
    ahead = pace.in_flight(stages, stage, minibatches)
    versions = pace.versions(ahead, minibatches)
    return Factors(
        learning=versions + 1 + momenta,
        saved=ahead,
        casts=versions,
        behind=ahead if stage < stages - 1 else 0,
        before=pace.in_flight(stages, stage - 1, minibatches) if stage else 0,
    )
