"""Schedules with a drawn number of minibatches an update, as many as the schedule takes."""

from optimizer.schedule import Pace, Schedule, ScheduleName, pace_of, schedule_of


def some_pace(name: ScheduleName, stages: int, every: int) -> Pace:
    """The pace with ``every`` minibatches an update, or as near to it as the schedule allows."""
    return pace_of(name, stages, max(every, stages) if name == "2bw" else every)


def some_schedule(name: ScheduleName, stages: int, minibatches: int, every: int) -> Schedule:
    return schedule_of(name, stages, minibatches, some_pace(name, stages, every).update_every)
