"""Measure what the network between ranks costs."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.links.measure import measure_links
    from runtime.links.message_times import answer_messages, sizes_of, time_messages
else:
    __getattr__ = on_demand(__name__)
