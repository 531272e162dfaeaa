"""The plan as data."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from optimizer.plan.forecast import scheduled, timeline, waiting_words
    from optimizer.plan.noise import most_simulated
    from optimizer.plan.plan import (
        BOUNDED,
        EXACT,
        Plan,
        Prediction,
        Share,
        Stage,
        StageBytes,
        distinct,
    )
else:
    __getattr__ = on_demand(__name__)
