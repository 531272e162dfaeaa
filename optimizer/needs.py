"""What a schedule needs before it may start: proof that it ends, slots between stages, weight versions, memory.

Let ``a → b`` mean that action a surely ends before b starts, whatever the speeds: the transitive closure of each
stage's own order and of what ``needed_by`` says. The schedule ends if and only if this is acyclic.

For each action a and stage t, reached(a)[t] = how many of t's first actions surely ended before a starts. It is a
vector clock (Mattern, "Virtual time and global states of distributed systems", 1989), worked out in O(actions · S).

Slots. Minibatch b and b − k may share a slot behind stage s if what overwrites it comes after all that read it:

    activations:  B_{s+1}(b − k) → F_s(b)          gradients:  B_s(b − k) → B_{s+1}(b)

so k = max over b of b + 1 − n_b, where n_b is the number of leading minibatches whose backward (at s + 1, at s) surely
ended before. No message has to say that a slot is free: the order proves it.

Versions. When version v is written, minibatches in flight hold versions from some u on; the ring needs v − u + 1 slots,
or one if nothing is in flight, for then the update may write in place.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.schedule import Action, Schedule, needed_by, versions_used


@dataclass(frozen=True, slots=True, kw_only=True)
class StageNeeds:
    """What one stage has to have room for.

    Attributes:
        versions: Weight versions, the newest included.
        in_flight: Minibatches between forward and backward.
        activation_slots: Slots for activations behind the stage; 0 in the last.
        gradient_slots: Slots for gradients behind the stage; 0 in the last.
    """

    versions: int
    in_flight: int
    activation_slots: int
    gradient_slots: int


def needs_of(schedule: Schedule) -> list[StageNeeds]:
    """Return what each stage needs.

    Raises:
        ValueError: The schedule cannot end: some actions wait for each other.
    """
    reached = _reached(schedule)
    last = len(schedule.rows) - 1
    return [
        StageNeeds(
            versions=_versions(row),
            in_flight=_in_flight(row),
            activation_slots=_slots(schedule, reached, stage, "F") if stage < last else 0,
            gradient_slots=_slots(schedule, reached, stage, "B") if stage < last else 0,
        )
        for stage, row in enumerate(schedule.rows)
    ]


def _reached(schedule: Schedule) -> dict[Action, tuple[int, ...]]:
    """Return for every action how many actions of each stage surely ended before it starts."""
    rows, stages = schedule.rows, len(schedule.rows)
    found: dict[Action, tuple[int, ...]] = {}
    position = {action: index for row in rows for index, action in enumerate(row)}
    done = [0] * stages
    moved = True
    while moved:
        moved = False
        for stage, row in enumerate(rows):
            while done[stage] < len(row):
                action = row[done[stage]]
                need = needed_by(action, stages)
                if need is not None and need not in found:
                    break
                clock = list(found[row[done[stage] - 1]]) if done[stage] else [0] * stages
                clock[stage] = done[stage]
                if need is not None:
                    clock = [max(pair) for pair in zip(clock, found[need], strict=True)]
                    clock[need.stage] = max(clock[need.stage], position[need] + 1)
                found[action] = tuple(clock)
                done[stage] += 1
                moved = True
    stuck = [str(row[count]) for row, count in zip(rows, done, strict=True) if count < len(row)]
    if stuck:
        raise ValueError(f"the schedule cannot end: {', '.join(stuck)} wait for each other")
    return found


def _slots(schedule: Schedule, reached: dict[Action, tuple[int, ...]], stage: int, kind: str) -> int:
    """Return how many slots the ring behind ``stage`` needs: filled by its F, or by the next stage's B."""
    writer, reader = (stage, stage + 1) if kind == "F" else (stage + 1, stage)
    leading = _leading_backwards(schedule.rows[reader])
    return max(
        action.minibatch + 1 - leading[reached[action][reader]]
        for action in schedule.rows[writer]
        if action.kind == kind
    )


def _leading_backwards(row: Sequence[Action]) -> list[int]:
    """Return, for each number of a stage's first actions, how many leading minibatches have had their backward."""
    done: set[int] = set()
    leading, found = 0, [0]
    for action in row:
        if action.kind == "B":
            done.add(action.minibatch)
            while leading in done:
                leading += 1
        found.append(leading)
    return found


def _in_flight(row: Sequence[Action]) -> int:
    flying = most = 0
    for action in row:
        flying += {"F": 1, "B": -1, "U": 0}[action.kind]
        most = max(most, flying)
    return most


def _versions(row: Sequence[Action]) -> int:
    used = versions_used(row)
    flying: set[int] = set()
    newest, most = 0, 1
    for action in row:
        if action.kind == "F":
            flying.add(action.minibatch)
        elif action.kind == "B":
            flying.discard(action.minibatch)
        else:
            newest += 1
            most = max(most, newest - min((used[minibatch] for minibatch in flying), default=newest) + 1)
    return most
