"""Run partitions of a model against each other, and work out what that shows."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.compare.audit import spearman
    from runtime.compare.begin import Job, job_of, new_comparison
    from runtime.compare.comparison import Comparison
    from runtime.compare.contender import ONE_CORE, Contender, RunRecord, plain_pytorch
    from runtime.compare.posterior import Estimate
    from runtime.compare.ranking import apart, decided
    from runtime.compare.request import Request, request_of
    from runtime.compare.resume import find_comparison, set_aside
    from runtime.compare.rounds import Step, compare, steps
    from runtime.compare.work import carry_out
else:
    __getattr__ = on_demand(__name__)
