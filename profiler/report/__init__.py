"""Tables of a profile, and text, tables and figures that all packages share."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from profiler.report.figure import Drawing, drawing
    from profiler.report.fold_layers import folded, groups
    from profiler.report.rich_table import ResultTable
    from profiler.report.table import show_profile
    from profiler.report.text import MEBIBYTE, counted, mib, ms, shell_lines
else:
    __getattr__ = on_demand(__name__)
