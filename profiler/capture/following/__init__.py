"""Capture a model by following a run of it, where a symbolic trace cannot."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from profiler.capture.following.follow import follow
else:
    __getattr__ = on_demand(__name__)
