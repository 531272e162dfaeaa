"""Splits that are nearly the best, against every assignment of layers to stages."""

from itertools import pairwise

import pytest
from brute_force import legal_assignments, memory, stage_costs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import chain, random_profiles

from optimizer.costs import Problem, costs_of
from optimizer.search import NEAR, near_best, solve, space_of
from profiler.profile import Profile

POWERS = 8, 32


def sum_of_powers(costs_ns: list[int], power: int) -> int:
    return sum(cost**power for cost in costs_ns)


def assignment(problem: Problem, bounds: tuple[int, ...]) -> dict[str, int]:
    return {
        layer.name: number
        for number, (before, through) in enumerate(pairwise(bounds))
        for at, layer in enumerate(problem.costs.layers)
        if (through & ~before) >> at & 1
    }


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(profile=random_profiles(), stages=st.integers(2, 4), few=st.booleans(), limited=st.booleans())
def test_they_have_the_smallest_sums_of_powers_of_all_legal_splits_near_the_best(
    monkeypatch: pytest.MonkeyPatch, profile: Profile, stages: int, *, few: bool, limited: bool
) -> None:
    problem = Problem(costs_of(profile.costs()), stages, 8, memory_limit_bytes=4000 if limited else None)
    space = space_of(problem)
    best = solve(problem, space)
    if best is None:
        return
    with monkeypatch.context() as patch:
        if not few:
            patch.setattr("optimizer.search.solver.FEW", 0)
        found = list(near_best(problem, space, best.bounds))
    limit_ns = int(problem.bottleneck_ns(best.bounds) * (1 + NEAR))
    every = [
        costs_ns
        for stage_of in legal_assignments(profile, stages)
        if not limited or max(memory(profile, stage_of, stages, 8)) <= 4000
        for costs_ns, _ in [stage_costs(profile, stage_of, stages)]
        if max(costs_ns) <= limit_ns
    ]
    splits = [stage_costs(profile, assignment(problem, bounds), stages)[0] for bounds in (best.bounds, *found)]
    assert all(costs_ns in every for costs_ns in splits)
    for power in POWERS:
        least = min(sum_of_powers(costs_ns, power) for costs_ns in every)
        assert min(sum_of_powers(costs_ns, power) for costs_ns in splits) == pytest.approx(least, rel=1e-9)


def test_where_candidates_are_too_many_to_compare_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem(costs_of(chain([3, 1, 2, 4, 1, 3]).costs()), 3, 8)
    space = space_of(problem)
    best = solve(problem, space)
    assert best
    monkeypatch.setattr("optimizer.search.solver.MOST_PAIRS", 0)
    monkeypatch.setattr("optimizer.search.solver.FEW", 0)
    assert not list(near_best(problem, space, best.bounds))
