"""What one would run instead of a pipeline: one process with several threads, replicas, torch's own pipeline."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.baselines.baseline import Baseline, BaselineChoice
    from runtime.baselines.baselines import Baselines, baseline_rows
else:
    __getattr__ = on_demand(__name__)
