"""Memory of a stage in bytes, by its place in the pipeline.

For ideals J ⊂ I and stage s with d_s minibatches in flight and w_s weight versions, as the schedule has them (1f1b:
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

from optimizer.costs.costs import Costs
from optimizer.costs.ideals import members_of
from optimizer.schedule import Pace


@dataclass(frozen=True, slots=True)
class Factors:
    """How often a stage holds each kind of bytes.

    Attributes:
        learning: Of parameters that learn: versions, gradient and momentum.
        saved: Of what is kept for the backward, casts of weights left out.
        casts: Of these.
        behind: Of what crosses the cut behind the stage.
        before: Of what crosses the cut before it.
    """

    learning: int
    saved: int
    casts: int
    behind: int
    before: int


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


def stage_bytes(costs: Costs, factor: Factors, before: int, through: int) -> int:
    """Return memory(J, I, s) for J = ``before`` and I = ``through``."""
    layers = [costs.layers[position] for position in members_of(through & ~before)]
    held = sum(
        layer.parameter_bytes - layer.learning_bytes
        + layer.learning_bytes * factor.learning
        + (layer.saved_bytes - layer.cast_bytes) * factor.saved
        + layer.cast_bytes * factor.casts
        for layer in layers
    )  # fmt: skip
    slots = costs.cut_bytes(through) * factor.behind + costs.cut_bytes(before) * factor.before
    return held + slots + max(layer.transient_bytes for layer in layers) + costs.heap_bytes
