"""Schedules with a drawn number of minibatches an update, as many as the schedule takes."""

from collections.abc import Sequence

from hypothesis import strategies as st

from optimizer.schedule import SCHEDULES, Pace, Schedule, ScheduleName, pace_of, schedule_of


def some_pace(name: ScheduleName, stages: int, every: int) -> Pace:
    """The pace with ``every`` minibatches an update, or as near to it as the schedule allows."""
    return pace_of(name, stages, max(every, stages) if name == "2bw" else every)


def some_schedule(name: ScheduleName, stages: int, minibatches: int, every: int) -> Schedule:
    return schedule_of(name, stages, minibatches, some_pace(name, stages, every).update_every)


def drawn_pace(data: st.DataObject, stages: int, every: Sequence[int] = range(1, 7)) -> Pace:
    return some_pace(data.draw(st.sampled_from(list(SCHEDULES))), stages, data.draw(st.sampled_from(list(every))))
