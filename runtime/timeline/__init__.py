"""The timeline of one run: traces, pictures, a live view, where the time went."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.timeline.bars import COLOURS, colour_key, draw_bars, kinds_in
    from runtime.timeline.bubbles import bubbles_of
    from runtime.timeline.chrome_trace import trace_of
    from runtime.timeline.run_picture import picture_of
    from runtime.timeline.run_table import show_run
else:
    __getattr__ = on_demand(__name__)
