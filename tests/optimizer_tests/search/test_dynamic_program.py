"""The search against brute force over every assignment of layers to stages, written from the problem statement."""

from itertools import pairwise

import pytest
from brute_force import legal_assignments, objective, stage_map
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paces import drawn_pace
from strategies import random_profiles

from optimizer.costs import Problem, costs_of
from optimizer.errors import PartitionError
from optimizer.planning import Planner
from optimizer.search import StageTable, bottleneck_ns, candidates_of, solve
from profiler.profile import Profile


@settings(deadline=None, max_examples=120)
@given(profile=random_profiles(), stages=st.integers(1, 4), data=st.data())
def test_the_plan_is_the_best_of_all_legal_assignments_under_any_schedule(
    profile: Profile, stages: int, data: st.DataObject
) -> None:
    pace = drawn_pace(data, stages)
    every = [objective(profile, stage_of, stages, pace) for stage_of in legal_assignments(profile, stages)]
    if not every:
        with pytest.raises(PartitionError, match="cannot be cut"):
            Planner(profile, stages, 8, pace=pace).optimized()
        return
    plan = Planner(profile, stages, 8, pace=pace).optimized()
    assert plan.planned_for == plan.pace == pace
    assert objective(profile, stage_map(plan), stages, pace) == min(every)
    assert plan.optimal
    assert plan.bottleneck_s == min(every)[0] / 1e9 == plan.lower_bound_s


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(profile=random_profiles(), stages=st.integers(1, 4), limit=st.sampled_from([None, 8_000, 16_000]))
def test_prefixes_of_a_few_orders_give_a_legal_split_and_a_bound_that_holds(
    monkeypatch: pytest.MonkeyPatch, profile: Profile, stages: int, limit: int | None
) -> None:
    problem = Problem(costs_of(profile), stages, 8, memory_limit_bytes=limit)
    whole = solve(problem, candidates_of(problem))
    with monkeypatch.context() as patch:
        patch.setattr("optimizer.search.candidates.MOST_IDEALS", 0)
        few = candidates_of(problem)
    assert not few.complete
    found = solve(problem, few)
    if found is None:
        return
    assert whole is not None
    assert found.lower_bound_ns <= whole.lower_bound_ns <= bottleneck_ns(problem, found.bounds)
    assert all(before & ~after == 0 for before, after in pairwise(found.bounds))
    table = StageTable(problem, found.bounds)
    assert limit is None or all(table.memory_bytes(at)[at, at + 1] <= limit for at in range(stages))
