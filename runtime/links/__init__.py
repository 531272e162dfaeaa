"""Measure what the network between ranks costs."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.links.measure import answer_messages, measure_links, sizes_of, time_messages
else:
    __getattr__ = on_demand(__name__)
