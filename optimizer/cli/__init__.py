"""The command line of the optimizer."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from optimizer.cli.planned import planned_models, plans_of, wanted_names
    from optimizer.cli.planning_options import PlanningOptions
else:
    __getattr__ = on_demand(__name__)
