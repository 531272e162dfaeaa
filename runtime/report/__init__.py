"""Say and draw what a comparison shows."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.report.findings import advice
    from runtime.report.page import write_report
    from runtime.report.screen import show_comparison, show_leaders
else:
    __getattr__ = on_demand(__name__)
