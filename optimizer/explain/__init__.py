"""Why a plan is what it is, and what other cuts would cost."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from optimizer.explain.explanation import Explanation, cannot_be, ceiling_of, explain, times_one_core
else:
    __getattr__ = on_demand(__name__)
