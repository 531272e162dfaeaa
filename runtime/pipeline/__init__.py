"""Run a plan: hand each stage its layers, run the schedule, gather what happened."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.pipeline.launcher import Launcher, Settings, comparable, cores_for
else:
    __getattr__ = on_demand(__name__)
