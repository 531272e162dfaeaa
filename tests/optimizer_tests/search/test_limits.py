"""The search, its limits on memory and forced cuts, against brute force over every assignment of layers to stages."""

from dataclasses import replace
from itertools import pairwise

import pytest
from brute_force import Objective, befores, legal_assignments, memory, needed, objective, stage_map
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from paces import drawn_pace, paces_within
from strategies import chain, layer, profile, random_profiles

from optimizer.costs import Problem, costs_of, names_of
from optimizer.costs.cuts import cut_behind
from optimizer.errors import InfeasibleError, PartitionError
from optimizer.planning import Planner
from optimizer.schedule import PLAIN_1F1B, Pace
from optimizer.search import StageTable, bottleneck_ns, candidates_of, solve
from optimizer.search.best_split import smallest_limit
from profiler.profile import Profile

MINIBATCHES = 8


def best(
    profile: Profile, stages: int, limit: int | None, cuts: list[frozenset[str]], pace: Pace = PLAIN_1F1B
) -> Objective | None:
    """The smallest objective of all assignments that keep the limits."""
    kept = [
        objective(profile, stage_of, stages, pace)
        for stage_of in legal_assignments(profile, stages)
        if (limit is None or max(memory(profile, stage_of, stages, MINIBATCHES, pace)) <= limit)
        and all(cut in befores(stage_of, stages) for cut in cuts)
    ]
    return min(kept, default=None)


def forced_names(profile: Profile, name: str) -> list[str]:
    """The maximal layers of the ideal that ``name`` needs, or nothing where that is no legal cut."""
    costs = costs_of(profile)
    try:
        return names_of(costs, cut_behind(costs, [name]))
    except PartitionError:
        return []


@settings(deadline=None, max_examples=200)
@given(found=random_profiles(), stages=st.integers(1, 4), data=st.data())
def test_the_plan_is_the_best_of_all_that_keep_the_limits_under_any_schedule(
    found: Profile, stages: int, data: st.DataObject
) -> None:
    pace = drawn_pace(data, stages)
    every = [
        memory(found, stage_of, stages, MINIBATCHES, own)
        for stage_of in legal_assignments(found, stages)
        for own in paces_within(pace, stages, 0)
    ]
    peaks = sorted({max(sizes) for sizes in every})
    limit = data.draw(st.sampled_from([None, *peaks, *(max(1, peak - 1) for peak in peaks[:1])]))
    name = data.draw(st.sampled_from([layer.name for layer in found.layers]))
    names = forced_names(found, name) if data.draw(st.booleans()) else []
    cuts = [needed(found, names)] if names else []
    try:
        planner = Planner(
            found, stages, MINIBATCHES, pace=pace, memory_limit_bytes=limit, cut_after=[names] if names else []
        )
        plan = planner.optimized()
    except PartitionError:
        assert not any(best(found, stages, limit, cuts, own) for own in paces_within(pace, stages, limit))
        return
    assert plan.pace in paces_within(pace, stages, limit)
    pace = plan.planned_for
    assert pace == plan.pace
    smallest = best(found, stages, limit, cuts, pace)
    assert smallest is not None
    assert objective(found, stage_map(plan), stages, pace) == smallest
    assert plan.optimal
    assert plan.stages[-1].boundary == ()
    assert plan.bottleneck_s == smallest[0] / 1e9 == plan.lower_bound_s
    assert [stage.memory_bytes for stage in plan.stages] == memory(found, stage_map(plan), stages, MINIBATCHES, pace)


@settings(deadline=None, max_examples=80)
@given(found=random_profiles(), stages=st.integers(1, 4))
def test_the_smallest_limit_is_that_of_brute_force(found: Profile, stages: int) -> None:
    every = [memory(found, stage_of, stages, MINIBATCHES) for stage_of in legal_assignments(found, stages)]
    assume(every)
    smallest = min(max(sizes) for sizes in every)
    problem = Problem(costs_of(found), stages, MINIBATCHES)
    assert smallest_limit(problem, candidates_of(problem)) == smallest
    if smallest > 1:
        planner = Planner(found, stages, MINIBATCHES, memory_limit_bytes=smallest - 1)
        with pytest.raises(InfeasibleError, match="--memory-limit") as refused:
            planner.optimized()
        assert refused.value.exit_code == 3


@pytest.mark.parametrize(
    ("cuts", "words"),
    [
        ([["l0"], ["l1"], ["l3"]], "use --stages 4 or more"),
        ([["l2"]], "use --cut-after l3"),
    ],
)
def test_forced_cuts_that_cannot_be_had_are_refused(cuts: list[list[str]], words: str) -> None:
    found = replace(chain([1, 1, 1, 1, 1, 9]), inseparable=(("l2", "l3"),))
    with pytest.raises(PartitionError) as refused:
        Planner(found, 3, MINIBATCHES, cut_after=cuts).optimized()
    assert words in str(refused.value)


def test_forced_cuts_that_exclude_each_other_are_refused() -> None:
    branches = profile([layer(name) for name in "abcd"], [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])
    with pytest.raises(PartitionError, match="exclude each other"):
        Planner(branches, 3, MINIBATCHES, cut_after=[["b"], ["c"]])
    both = Planner(branches, 2, MINIBATCHES, cut_after=[["b", "c"]]).optimized()
    assert both.stages[1].layers == ("d",)


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
