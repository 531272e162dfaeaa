"""Prove that a schedule ends, and count the slots, weight versions and minibatches in flight that it needs.

Let ``a → b`` mean that action a surely ends before b starts, whatever the speeds: the transitive closure of each
stage's own order and of what ``needed_by`` says. The schedule ends if and only if this is acyclic.

For each action a and stage t, reached(a)[t] = how many of t's first actions surely ended before a starts. It is a
vector clock (Mattern, "Virtual time and global states of distributed systems", 1989), worked out in O(actions · S).

Slots. Minibatch b and b − k may share a slot behind stage s if what overwrites it comes after all that read it:

    activations:  B_{s+1}(b − k) → F_s(b)          gradients:  B_s(b − k) → B_{s+1}(b)

so k = max over b of b + 1 − n_b, where n_b is the number of leading minibatches whose backward (at s + 1, at s) surely
ended before. No message has to say that a slot is free: the order proves it.

Versions. When version v is written, minibatches that are not done use versions from some u < v on; the ring needs
v − u + 1 slots, or one if none does, for then the update may write in place.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.schedule.schedule import Action, Kind, Pace, Schedule, in_short, needed_by, versions_used


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRequirements:
    """Weight versions, minibatches and slots that a stage needs room for.

    Attributes:
        activation_slots: Slots for activations behind the stage; 0 in the last.
    """

    versions: int
    in_flight: int
    activation_slots: int
    gradient_slots: int


def requirements_of(schedule: Schedule) -> list[StageRequirements]:
    """Return what each stage needs; of a long run, by what stands for it (``in_short``)."""
    schedule = in_short(schedule)
    reached = _reached(schedule)
    last = len(schedule.rows) - 1
    return [
        StageRequirements(
            versions=_versions(schedule.pace, row),
            in_flight=_in_flight(row),
            activation_slots=_slots(schedule, reached, stage, "F") if stage < last else 0,
            gradient_slots=_slots(schedule, reached, stage, "B") if stage < last else 0,
        )
        for stage, row in enumerate(schedule.rows)
    ]


@dataclass(frozen=True, slots=True)
class _Reached:
    """For every action, its stage and place there, and how many actions of each stage surely ended before it starts."""

    places: dict[Action, tuple[int, int]]
    clocks: dict[Action, tuple[int, ...]]

    def surely(self, action: Action, *, before: Action) -> bool:
        """Say whether an action surely ended before another starts."""
        stage, place = self.places[action]
        return self.clocks[before][stage] > place


def _reached(schedule: Schedule) -> _Reached:
    rows = schedule.rows
    reached: dict[Action, tuple[int, ...]] = {}
    places = {action: (stage, index) for stage, row in enumerate(rows) for index, action in enumerate(row)}
    done = [0] * len(rows)
    moved = True
    while moved:
        moved = False
        for stage, row in enumerate(rows):
            while done[stage] < len(row):
                action = row[done[stage]]
                need = needed_by(action, len(rows))
                if need and need not in reached:
                    break
                clock = list(reached[row[done[stage] - 1]]) if done[stage] else [0] * len(rows)
                clock[stage] = done[stage]
                if need:
                    other, index = places[need]
                    clock = [max(pair) for pair in zip(clock, reached[need], strict=True)]
                    clock[other] = max(clock[other], index + 1)
                reached[action] = tuple(clock)
                done[stage] += 1
                moved = True
    stuck = [str(row[count]) for row, count in zip(rows, done, strict=True) if count < len(row)]
    if stuck:
        raise ValueError(f"the schedule cannot end: {', '.join(stuck)} wait for each other")
    return _Reached(places, reached)


def _slots(schedule: Schedule, reached: "_Reached", stage: int, kind: Kind) -> int:
    """Return how many slots the ring behind ``stage`` needs: filled by its F, or by the next stage's B."""
    writer, reader = (stage, stage + 1) if kind == "F" else (stage + 1, stage)
    own = [action.minibatch for action in schedule.rows[writer] if action.kind == kind]
    ended = most = 0
    for written, minibatch in enumerate(own, start=1):
        action = Action(writer, kind, minibatch)
        while ended < written and reached.surely(Action(reader, "B", own[ended]), before=action):
            ended += 1
        most = max(most, written - ended)
    return most


def _in_flight(row: Sequence[Action]) -> int:
    flying = most = 0
    for action in row:
        flying += {"F": 1, "B": -1, "U": 0}[action.kind]
        most = max(most, flying)
    return most


def _versions(pace: Pace, row: Sequence[Action]) -> int:
    used = versions_used(pace, row)
    newest, most = 0, 1
    oldest = {}  # used from a minibatch's backward on, this one left out
    least = max(used.values(), default=0) + len(row)
    for action in reversed(row):
        if action.kind == "B":
            oldest[action.minibatch] = least
            least = min(least, used[action.minibatch])
    for action in row:
        if action.kind == "B":
            least = oldest[action.minibatch]
        elif action.kind == "U":
            newest += 1
            most = max(most, newest - min(least, newest) + 1)
    return most
