"""What a schedule needs, against all that runs of drawn durations hold at once."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paces import drawn_pace

from optimizer.schedule import (
    Kind,
    Schedule,
    ScheduleName,
    StageRequirements,
    pace_of,
    requirements_of,
    schedule_of,
    simulate,
)

Ends = dict[tuple[int, Kind, int], float]


def run_of(schedule: Schedule, seed: int) -> tuple[Ends, Ends]:
    """Starts and ends of a run in which every action takes what is drawn, and some stages and kinds far longer."""
    draw = random.Random(seed)  # noqa: S311 - made-up times
    slow = {(stage, kind): 10 ** draw.randint(0, 3) for stage in range(schedule.stages) for kind in "FBWU"}
    took = {stage: 10 ** draw.randint(0, 3) for stage in range(schedule.stages)}

    def duration_s(stage: int, kind: Kind, _minibatch: int) -> float:
        return float(slow[stage, kind] * took[stage] * draw.choice([0.01, 1, 1, 2]))

    spans = [span for row in simulate(schedule.pace, schedule.stages, schedule.minibatches, duration_s) for span in row]
    keys = [(span.action.stage, span.action.kind, span.action.minibatch) for span in spans]
    return (
        dict(zip(keys, (span.start_s for span in spans), strict=True)),
        dict(zip(keys, (span.end_s for span in spans), strict=True)),
    )


def most_at_once(taken_s: Iterable[float], given_back_s: Iterable[float]) -> int:
    """How many are held at once, of what is taken and given back in the same order."""
    back = list(given_back_s)
    return max(number + 1 - sum(end <= start for end in back) for number, start in enumerate(taken_s))


def held_in(schedule: Schedule, seed: int) -> list[StageRequirements]:
    """What each stage of a run holds at once."""
    starts, ends = run_of(schedule, seed)
    batches, last = range(schedule.minibatches), schedule.stages - 1
    done: Kind = "W" if schedule.pace.rule.splits else "B"

    def most(writer: tuple[int, Kind], reader: tuple[int, Kind]) -> int:
        return most_at_once([starts[*writer, b] for b in batches], [ends[*reader, b] for b in batches])

    return [
        StageRequirements(
            versions=0,
            in_flight=most((stage, "F"), (stage, done)),
            activation_slots=most((stage, "F"), (stage + 1, done)) if stage < last else 0,
            gradient_slots=most((stage + 1, "B"), (stage, done)) if stage < last else 0,
        )
        for stage in range(schedule.stages)
    ]


def fits(held: StageRequirements, needs: StageRequirements) -> bool:
    return (
        held.in_flight <= needs.in_flight
        and held.activation_slots <= needs.activation_slots
        and held.gradient_slots <= needs.gradient_slots
    )


@settings(deadline=None, max_examples=150)
@given(data=st.data(), stages=st.integers(1, 16), minibatches=st.integers(1, 40), seed=st.integers(0, 10**6))
def test_no_run_holds_more_than_there_is_room_for(
    data: st.DataObject, stages: int, minibatches: int, seed: int
) -> None:
    schedule = schedule_of(drawn_pace(data, stages, (1, 2, 4, 9, 31)), stages, minibatches)
    assert all(map(fits, held_in(schedule, seed), requirements_of(schedule)))


@pytest.mark.parametrize(
    ("name", "stages", "every", "held"),
    [
        ("1f1b", 4, 1, None), ("1f1b-flush", 4, 8, None), ("gpipe", 3, 5, None), ("zero-bubble", 2, 8, None),
        ("zero-bubble", 3, 12, None), ("zero-bubble", 4, 16, 4),
    ],
)  # fmt: skip
def test_some_run_holds_all_that_there_is_room_for(
    name: ScheduleName, stages: int, every: int, held: int | None
) -> None:
    schedule = schedule_of(pace_of(name, stages, every if every > 1 else None, held), stages, 4 * max(every, 8))
    runs = [held_in(schedule, seed) for seed in range(150)]
    for stage, needs in enumerate(requirements_of(schedule)):
        own = [run[stage] for run in runs]
        assert max(held.in_flight for held in own) == needs.in_flight
        assert max(held.gradient_slots for held in own) == needs.gradient_slots
        assert max(held.activation_slots for held in own) == needs.activation_slots
