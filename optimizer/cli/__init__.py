"""The command line of the optimizer."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from optimizer.cli.measure_blocks import measuring_blocks
    from optimizer.cli.planned import planned_forms, plans_of, wanted_names
    from optimizer.cli.schedule_options import ScheduleOptions, add_schedule
else:
    __getattr__ = on_demand(__name__)
