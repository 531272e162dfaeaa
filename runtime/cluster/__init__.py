"""Several hosts under torchrun as one run."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.cluster.clock_sync import all_reports, placed, reading
    from runtime.cluster.errand import Errand, exit_with
    from runtime.cluster.join import RANK_TIMEOUT_S, joined, refuse_ranks
    from runtime.cluster.plan_differences import agree_on_plan, agree_on_weights
    from runtime.cluster.rank_differences import agree
    from runtime.cluster.rank_session import RankSession
    from runtime.cluster.session import Session
    from runtime.cluster.torchrun import placement, written_since_launch
else:
    __getattr__ = on_demand(__name__)
