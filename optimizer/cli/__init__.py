"""The command line of the optimizer."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from optimizer.cli.forms import Prepared, planner_in_form
    from optimizer.cli.schedule_options import ScheduleOptions, add_schedule
    from optimizer.cli.slicing import AUTO, NONE, Sliced, is_explicit, refuse_odd_slicing, sliced_as
else:
    __getattr__ = on_demand(__name__)
