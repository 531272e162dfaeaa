"""Runners-up and the front, against brute force over every assignment."""

from brute_force import legal_assignments, objective
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import random_profiles

from optimizer.costs import Problem, costs_of
from optimizer.explain.alternatives import best_splits, front
from optimizer.search import StageCosts, all_stage_costs
from optimizer.search.lattice import lattice
from profiler.profile import Profile


def grid_of(found: Profile, stages: int) -> StageCosts:
    problem = Problem(costs_of(found.costs()), stages, 8)
    every = lattice(problem)
    assert every is not None
    return all_stage_costs(problem, every)


@settings(deadline=None, max_examples=80)
@given(found=random_profiles(), stages=st.integers(1, 4), count=st.integers(1, 8))
def test_the_best_splits_are_the_first_of_all_in_order(found: Profile, stages: int, count: int) -> None:
    every = sorted(objective(found, stage_of, stages) for stage_of in legal_assignments(found, stages))
    ranked = best_splits(grid_of(found, stages), count)
    assert len(ranked) == min(count, len(every))
    assert [(one.bottleneck_ns, one.sent_bytes) for one in ranked] == [one[:2] for one in every[:count]]
    assert len({one.bounds for one in ranked}) == len(ranked)


@settings(deadline=None, max_examples=80)
@given(found=random_profiles(), stages=st.integers(1, 4))
def test_the_front_is_what_nothing_beats_in_both(found: Profile, stages: int) -> None:
    every = [objective(found, stage_of, stages)[:2] for stage_of in legal_assignments(found, stages)]
    assume(every)
    unbeaten = {one for one in every if not any(o != one and o[0] <= one[0] and o[1] <= one[1] for o in every)}
    points = front(grid_of(found, stages))
    assert [(one.bottleneck_ns, one.sent_bytes) for one in points] == sorted(unbeaten)
