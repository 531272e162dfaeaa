"""The timeline of one run: traces, pictures, a live view, where the time went."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.timeline.chrome_trace import trace_of
    from runtime.timeline.run_picture import COLOURS, colour_key, draw_bars, kinds_in, picture_of
    from runtime.timeline.run_table import bubbles_of, show_run
else:
    __getattr__ = on_demand(__name__)
