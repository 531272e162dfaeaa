"""Say and draw what a comparison shows."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.report.page import KINDS, write_reports
    from runtime.report.progress import live_progress
    from runtime.report.tables import show_comparison
else:
    __getattr__ = on_demand(__name__)
