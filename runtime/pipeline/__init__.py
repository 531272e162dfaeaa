"""Run a plan: hand each stage its layers, run the schedule, gather what happened."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.pipeline.core_assignment import core_count, cores_for, default_clock, own_cores, sharing, taking_turns
    from runtime.pipeline.launcher import Launcher
    from runtime.pipeline.outcome import Outcome
    from runtime.pipeline.plan_differences import agree_on_plan, agree_on_weights
else:
    __getattr__ = on_demand(__name__)
