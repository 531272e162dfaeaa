"""What rounds of steps say: each part's share of a step, how sure that is, and when there have been enough."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from profiler.rounds.doubt import USUAL, doubt_of
    from profiler.rounds.samples import LOSS, Clock, Samples, foreign_load
    from profiler.rounds.shares import closure_error, layer_times, step_costs, step_totals
    from profiler.rounds.time_budget import BUDGET_S, spend
else:
    __getattr__ = on_demand(__name__)
