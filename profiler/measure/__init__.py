"""Time and count a training step, layer by layer, and keep the profile that this makes."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from profiler.measure.measure import measure_profile
    from profiler.measure.stepper import stepper_for
    from profiler.measure.yardstick import step_timer
else:
    __getattr__ = on_demand(__name__)
