"""What one would run instead of a pipeline: one process with several threads."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.baselines.plain_pytorch import run_baseline, why_left_out
else:
    __getattr__ = on_demand(__name__)
