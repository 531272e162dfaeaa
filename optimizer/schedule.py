"""Schedules as data: for each stage the list of its actions, which the simulator times and the runtime executes.

An action prints as ``2F5``: stage 2, forward, minibatch 5; ``B`` is a backward, ``U`` a weight update.

1F1B: a stage of depth d runs d forwards (warm-up), then one backward with its update, one forward, … (steady state)
and the last backwards (drain). The depth of stage s of S is min(S − s, minibatches), which keeps the last stage's
alternation fed.

A stage runs forward b only after its own backward b − d, which waited for the next stage's. So when minibatch b enters
a stage, minibatch b − d has left that stage and all behind it, and minibatches b − d and b can share a slot: d slots in
each ring behind the stage, activations going down and gradients coming up, need no message that says "free". Fewer
gradient slots are enough in the steady state, but not in the drain, where the next stage runs ahead by up to d.

Source: Narayanan et al., "PipeDream", SOSP 2019, section 3.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["F", "B", "U"]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that a stage does with one minibatch."""

    stage: int
    kind: Kind
    minibatch: int

    def __str__(self) -> str:
        return f"{self.stage}{self.kind}{self.minibatch}"


def depth(stage: int, stages: int, minibatches: int) -> int:
    """Return how many minibatches ``stage`` has in flight, hence its weight versions and the slots behind it."""
    return min(stages - stage, minibatches)


def one_forward_one_backward(stages: int, minibatches: int) -> tuple[tuple[Action, ...], ...]:
    """Return each stage's actions under 1F1B without a flush, one update a minibatch."""
    return tuple(tuple(_actions(stage, stages, minibatches)) for stage in range(stages))


def _actions(stage: int, stages: int, minibatches: int) -> Sequence[Action]:
    ahead = depth(stage, stages, minibatches)
    actions = [Action(stage, "F", minibatch) for minibatch in range(ahead)]
    for minibatch in range(minibatches):
        actions += [Action(stage, "B", minibatch), Action(stage, "U", minibatch)]
        if minibatch + ahead < minibatches:
            actions.append(Action(stage, "F", minibatch + ahead))
    return actions
