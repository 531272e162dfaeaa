"""A profile as whole numbers, and the problem that is to be solved with them."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from optimizer.costs.costs import NANOSECONDS, Costs, costs_of, nanoseconds
    from optimizer.costs.cuts import forced_cuts, names_of
    from optimizer.costs.ideals import members_of, prefixes, rank
    from optimizer.costs.problem import Problem
    from optimizer.costs.rounds import Rounds
else:
    __getattr__ = on_demand(__name__)
