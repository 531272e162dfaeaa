"""Why a plan is what it is, and what other cuts would cost."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from optimizer.explain.ceiling import cannot_be, ceiling_of, times_one_core
    from optimizer.explain.explanation import Explanation, explain
else:
    __getattr__ = on_demand(__name__)
