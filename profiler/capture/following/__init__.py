"""Learn what a model calls by following runs of it."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from profiler.capture.following.follow import follow
else:
    __getattr__ = on_demand(__name__)
