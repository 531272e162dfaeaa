"""Count the weight versions, minibatches in flight and slots that a stage needs room for, whatever the speeds.

Let H_s be how many minibatches stage s holds at once, between F and W where backwards are split, else between F and B
(not more than an update takes, where all of an update use the same weights), and A_s ≤ H_s how many of them are
between F and B: all, where backwards are in one. When F_s(b) starts, B_s(b − A_s) and W_s(b − H_s) have surely ended.
Slots are shared by minibatches b and b − k where what overwrites one comes after all that read it:

    activations behind s     read until B_{s+1} (split: W_{s+1}), overwritten by F_s
    gradients behind s       read until B_s (split: W_s), overwritten by B_{s+1}

B_s(b) needs B_{s+1}(b), so before F_s(b) also B_{s+1}(b − A_s) has ended: k = A_s slots for activations, and where
backwards are split k = A_s + H_{s+1}, for before B_{s+1}(b − A_s) its F has ended, and so W_{s+1}(b − A_s − H_{s+1}).
B_{s+1}(b) needs F_s(b), so k = H_s slots for gradients. No message has to say that a slot is free.

Versions. Where all minibatches of an update use the same weights there is one, and updates are in place. Under ``1f1b``
a minibatch keeps its version until its backward, which is followed by an update: as many as are in flight.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from optimizer.schedule.schedule import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRequirements:
    """Weight versions, minibatches and slots that a stage needs room for.

    Attributes:
        activation_slots: Slots for activations behind the stage; 0 in the last. Likewise ``gradient_slots``.
    """

    versions: int
    in_flight: int
    activation_slots: int
    gradient_slots: int


def requirements_of(schedule: Schedule) -> list[StageRequirements]:
    """Return what each stage needs."""
    return [stage_requirements(schedule, stage) for stage in range(schedule.stages)]


def stage_requirements(schedule: Schedule, stage: int) -> StageRequirements:
    """Return what a stage needs."""
    pace, stages, minibatches = schedule.pace, schedule.stages, schedule.minibatches
    in_flight, last = pace.in_flight(stages, stage, minibatches), stage == stages - 1
    activations = in_flight
    if pace.rule.splits and not last:
        ahead = min(pace.ahead(stages, stage), in_flight)
        activations = min(ahead + pace.in_flight(stages, stage + 1, minibatches), minibatches)
    return StageRequirements(
        versions=pace.versions(in_flight),
        in_flight=in_flight,
        activation_slots=0 if last else activations,
        gradient_slots=0 if last else in_flight,
    )


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

    @staticmethod
    def slot_bytes(activations: Amount, gradients: Amount, slots: tuple[int, int]) -> Amount:
        """Return what ``slots`` take, ``behind`` or ``before``, given the bytes that cross the cut, down and up."""
        return activations * slots[0] + gradients * slots[1]


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
