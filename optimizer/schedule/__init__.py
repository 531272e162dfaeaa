"""Schedules as lists of actions: which there are, what they need, how long they take."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from optimizer.schedule.schedule import (
        ASYNCHRONOUS,
        FLUSH_EVERY,
        KIND_NAMES,
        PLAIN_1F1B,
        SCHEDULES,
        Action,
        Kind,
        Pace,
        Progress,
        Schedule,
        ScheduleName,
        groups,
        pace_of,
        refuse_long,
        schedule_of,
    )
    from optimizer.schedule.simulator import (
        Duration,
        Durations,
        Span,
        by_kind,
        makespan_s,
        simulate,
        steady_minibatches,
        throughput,
    )
    from optimizer.schedule.stage_requirements import Factors, StageRequirements, factors, requirements_of
else:
    __getattr__ = on_demand(__name__)
