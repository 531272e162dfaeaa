"""Schedules with a drawn number of minibatches an update."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from optimizer.schedule import SCHEDULES, Pace, Schedule, ScheduleName, pace_of, schedule_of


def some_schedule(name: ScheduleName, stages: int, minibatches: int, every: int) -> Schedule:
    return schedule_of(pace_of(name, stages, every), stages, minibatches)


def drawn_pace(data: st.DataObject, stages: int, every: Sequence[int] = range(1, 7)) -> Pace:
    name = data.draw(st.sampled_from(list(SCHEDULES)))
    held = data.draw(st.sampled_from([None, 1, stages])) if SCHEDULES[name].splits else None
    return pace_of(name, stages, data.draw(st.sampled_from(list(every))), held)


def paces_within(pace: Pace, stages: int, limit: int | None) -> list[Pace]:
    """The paces that a limit may be kept by: where backwards are split, fewer minibatches may be held."""
    if limit is None or not pace.rule.splits:
        return [pace]
    return [replace(pace, held=held) for held in range(min(pace.held, stages), pace.held + 1)]
