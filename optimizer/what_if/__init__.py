"""What if it were cut elsewhere: a page in which cuts are moved by hand, with the planner's own arithmetic."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from optimizer.what_if.chain import Chain, chain_of, shown_first
    from optimizer.what_if.page import script, style, what_if_page, what_if_part
else:
    __getattr__ = on_demand(__name__)
