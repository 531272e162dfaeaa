"""The plan as data, and the network that one may be for."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from optimizer.plan.forecast import long_run_throughput, scheduled, timeline
    from optimizer.plan.network import AllReduce, Link, NetworkProfile, RankFacts, odd_network
    from optimizer.plan.noise import most_drawn
    from optimizer.plan.plan import (
        BOUNDED,
        EXACT,
        REPLICATED,
        STEADIEST,
        Expected,
        Plan,
        Search,
        Share,
        Stage,
        StageBytes,
        distinct,
    )
    from optimizer.plan.read import unreplicated_plan
else:
    __getattr__ = on_demand(__name__)
