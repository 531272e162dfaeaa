"""The search against HiGHS on a formulation of its own, with transfer, limits on memory and forced cuts."""

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from milp import optimum
from paces import drawn_pace, paces_within
from strategies import random_profiles

from optimizer.costs import costs_of, names_of
from optimizer.costs.cuts import cut_behind
from optimizer.errors import PartitionError
from optimizer.planning import Planner
from profiler.profile import CopyCost, Profile

COPY_COST = CopyCost(sizes_bytes=(1000, 2000, 3000), copy_s=(50e-6, 90e-6, 140e-6))
"""Whole microseconds for every size that is drawn, so that what a solver rounds is far below what differs."""


@settings(deadline=None, max_examples=100)
@given(found=random_profiles(most=9, copy_cost=COPY_COST), stages=st.integers(2, 4), data=st.data())
def test_the_search_and_the_mixed_integer_programme_agree(found: Profile, stages: int, data: st.DataObject) -> None:
    assume(len(found.layers) >= stages)
    limit = data.draw(st.one_of(st.none(), st.integers(1_000, 20_000)))
    name = data.draw(st.sampled_from([layer.name for layer in found.layers]))
    forced = tuple(_behind(found, name)) if data.draw(st.booleans()) else ()
    pace = drawn_pace(data, stages, every=(4, 5))
    try:
        plan = Planner(
            found, stages, 8, pace=pace, memory_limit_bytes=limit, cut_after=[forced] if forced else []
        ).optimized()
    except PartitionError:
        assert all(optimum(found, stages, 8, limit, forced, own) is None for own in paces_within(pace, stages, limit))
        return
    assert plan.pace in paces_within(pace, stages, limit)
    sent = sum(stage.send_bytes for stage in plan.stages)
    wanted = optimum(found, stages, 8, limit, forced, plan.pace)
    assert (round(plan.bottleneck_s * 1e6), sent) == wanted


def _behind(found: Profile, name: str) -> list[str]:
    costs = costs_of(found)
    try:
        return names_of(costs, cut_behind(costs, [name]))
    except PartitionError:
        return []
