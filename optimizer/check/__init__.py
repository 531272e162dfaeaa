"""Verify a plan with code that shares nothing with the search that found it."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from optimizer.check.plan_claims import check, holds
else:
    __getattr__ = on_demand(__name__)
