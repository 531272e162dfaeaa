"""The best split: one recurrence over candidates for cuts."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from optimizer.search.best_split import Solution, solve, why_none
    from optimizer.search.candidates import Candidates, candidates_of, captured_order
    from optimizer.search.stage_table import StageTable, bottleneck_ns
else:
    __getattr__ = on_demand(__name__)
