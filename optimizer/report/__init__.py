"""Views of a plan: tables."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from optimizer.report.plan_table import model_sentences, not_these_cores, show_gain, show_partitions, show_plan
else:
    __getattr__ = on_demand(__name__)
