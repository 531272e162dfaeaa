"""The best split: exact over all ideals of the layer graph."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from optimizer.search.bisection import Bound, smallest, time_potentials
    from optimizer.search.dynamic_program import (
        best_chain,
        fewest_bytes,
        first_chain,
        first_smallest_maximum,
        smallest_maximum,
    )
    from optimizer.search.lattice import Integers, Lattice, Positions, along_captured_order, sums
    from optimizer.search.over_links import MOST
    from optimizer.search.power_sums import NEAR, near_best
    from optimizer.search.solver import FEW, Solution, Space, all_stage_costs, solve, space_of
    from optimizer.search.stage_costs import NEVER, StageCosts
    from optimizer.search.why_infeasible import why_nothing_fits
else:
    __getattr__ = on_demand(__name__)
