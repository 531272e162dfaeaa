"""Ideals against their definition: every subset of layers is tried."""

from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import layer, profile, profile_of, random_profiles

from optimizer.costs import Problem, costs_of, members_of, prefixes, rank
from optimizer.costs.ideals import blocks
from optimizer.search import StageTable, candidates_of, captured_order
from optimizer.search.stage_table import NEVER
from profiler.capture.layer_graph import capture
from profiler.capture.models import build
from profiler.profile import INPUT, Profile


def problem_of(profile: Profile) -> Problem:
    return Problem(costs_of(profile), 1, 8)


def ideals_by_definition(profile: Profile) -> set[int]:
    """All sets of layers that contain every predecessor of their members and split no group."""
    position = {layer.name: index for index, layer in enumerate(profile.layers)}
    edges = [(position[e.source], position[e.target]) for e in profile.edges if e.source != INPUT]
    groups = [[position[name] for name in group] for group in profile.inseparable]
    found = set()
    for subset in range(1 << len(position)):
        closed = all(subset >> before & 1 for before, after in edges if subset >> after & 1)
        whole = all(len({subset >> member & 1 for member in group}) == 1 for group in groups)
        if closed and whole:
            found.add(subset)
    return found


@settings(deadline=None, max_examples=150)
@given(profile=random_profiles())
def test_the_ideals_are_those_of_the_definition(profile: Profile) -> None:
    found = candidates_of(problem_of(profile))
    assert found.complete
    assert set(found.ideals) == ideals_by_definition(profile)
    assert list(found.ideals) == sorted(set(found.ideals), key=rank)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(profile=random_profiles())
def test_prefixes_of_orders_are_ideals_and_hold_those_of_the_captured_order(
    monkeypatch: pytest.MonkeyPatch, profile: Profile
) -> None:
    problem = problem_of(profile)
    with monkeypatch.context() as patch:
        patch.setattr("optimizer.search.candidates.MOST_IDEALS", 0)
        found = candidates_of(problem)
    assert set(captured_order(problem).ideals) <= set(found.ideals) <= ideals_by_definition(profile)


@settings(deadline=None, max_examples=150)
@given(profile=random_profiles())
def test_the_prefixes_are_the_ideals_that_are_prefixes(profile: Profile) -> None:
    count = len(profile.layers)
    by_definition = ideals_by_definition(profile)
    expected = [(1 << length) - 1 for length in range(count + 1) if (1 << length) - 1 in by_definition]
    assert prefixes(costs_of(profile).parts, count) == expected


@pytest.mark.parametrize(("name", "count"), [("alexnet", 23), ("vgg16", 41), ("resnet50", 240), ("densenet121", 432)])
def test_real_graphs_have_the_known_number_of_ideals(name: str, count: int) -> None:
    captured = capture(build(name, 10, 0), name, torch.zeros(2, 3, 64, 64))
    found = candidates_of(problem_of(replace(profile_of(captured, 0), inseparable=())))
    assert found.complete
    assert len(found.ideals) == count


def test_more_ideals_than_can_be_compared_are_not_enumerated() -> None:
    independent = problem_of(profile([layer(f"l{number}") for number in range(20)], []))
    found = candidates_of(independent)
    assert not found.complete
    assert len(found.ideals) < 100


@settings(deadline=None, max_examples=150)
@given(profile=random_profiles(), data=st.data())
def test_the_table_prices_every_pair(profile: Profile, data: st.DataObject) -> None:
    problem = replace(problem_of(profile), stages=3)
    costs = problem.costs
    inner = candidates_of(problem).ideals[1:-1]
    forced = data.draw(st.sampled_from([(), *((cut,) for cut in inner)]))
    problem = replace(problem, forced=forced)
    found = candidates_of(problem)
    table = StageTable(problem, found.ideals)
    assert list(table.cut_bytes) == [sum(problem.crossing_bytes(ideal)) for ideal in found.ideals]
    for row, before in enumerate(found.ideals):
        for column, through in enumerate(found.ideals):
            legal = before & ~through == 0 and before != through
            passed = any(before & ~cut == 0 and before != cut != through and cut & ~through == 0 for cut in forced)
            stage = 2 if through == costs.everything else 1
            own_ns, own_bytes = table.time_ns(stage)[row, column], table.memory_bytes(stage)[row, column]
            if not legal or passed:
                assert own_ns == own_bytes == NEVER
            else:
                assert own_ns == costs.stage_ns(before, through)
                assert own_bytes == problem.stage_bytes(problem.factors[stage], before, through)


def test_a_group_takes_along_what_lies_between_its_members() -> None:
    parts = blocks(4, [(0, 1), (1, 2), (2, 3)], [[0, 2]])
    assert [members_of(members) for members, _ in parts] == [(0, 1, 2), (3,)]
