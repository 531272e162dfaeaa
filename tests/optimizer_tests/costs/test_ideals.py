"""Ideals against their definition: every subset of layers is tried."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from strategies import layer, profile, profile_of, random_profiles

from optimizer.costs import Problem, costs_of, members_of, prefixes
from optimizer.costs.ideals import blocks
from optimizer.search import NEVER, StageCosts, along_captured_order
from optimizer.search.lattice import lattice
from profiler.capture.layer_graph import capture
from profiler.capture.models import build
from profiler.profile import INPUT, Profile


def problem_of(profile: Profile) -> Problem:
    return Problem(costs_of(profile.costs()), 1, 8)


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
    found = lattice(problem_of(profile))
    assert found is not None
    assert set(found.ideals) == ideals_by_definition(profile)
    assert len(set(found.ideals)) == len(found)


@settings(deadline=None, max_examples=150)
@given(profile=random_profiles())
def test_the_prefixes_are_the_ideals_that_are_prefixes(profile: Profile) -> None:
    count = len(profile.layers)
    by_definition = ideals_by_definition(profile)
    expected = [(1 << length) - 1 for length in range(count + 1) if (1 << length) - 1 in by_definition]
    assert prefixes(costs_of(profile.costs()).parts, count) == expected


@pytest.mark.parametrize(("name", "count"), [("alexnet", 23), ("vgg16", 41), ("resnet50", 240), ("densenet121", 432)])
def test_real_graphs_have_the_known_number_of_ideals(name: str, count: int) -> None:
    captured = capture(build(name, 10, 0), name, torch.zeros(2, 3, 64, 64))
    found = lattice(problem_of(replace(profile_of(captured, 0), inseparable=())))
    assert found is not None
    assert len(found) == count


def test_more_ideals_than_the_limit_are_not_enumerated() -> None:
    independent = problem_of(profile([layer(f"l{number}") for number in range(20)], []))
    assert lattice(independent, limit=1000) is None


@settings(deadline=None, max_examples=150)
@given(profile=random_profiles())
def test_the_lattice_steps_one_block_at_a_time_and_prices_every_pair(profile: Profile) -> None:
    problem = problem_of(profile)
    costs = problem.costs
    for found in (lattice(problem), along_captured_order(problem)):
        assert found is not None
        assert found.ideals[0] == 0
        assert found.ideals[-1] == costs.everything
        for at, ideal in enumerate(found.ideals):
            assert found.cut_bytes[at] == costs.cut_bytes(ideal)
            for below in found.below[found.steps[at] : found.steps[at + 1]]:
                assert found.ideals[below] & ~ideal == 0
        every = np.arange(len(found))
        _, priced, last = StageCosts(replace(problem, stages=3), found, [every, every]).costs_ns()
        for row, before in enumerate(found.ideals):
            for column, through in enumerate(found.ideals):
                legal = before & ~through == 0 and before != through
                here = last[row, 0] if through == costs.everything else priced[row, column]
                assert here == (costs.stage_ns(before, through) if legal else NEVER)


@settings(deadline=None, max_examples=60)
@given(profile=random_profiles())
def test_every_step_between_neighbours_is_there(profile: Profile) -> None:
    costs = costs_of(profile.costs())
    found = lattice(Problem(costs, 1, 8))
    assert found is not None
    sizes = {members for members, _ in costs.parts}
    for at, ideal in enumerate(found.ideals):
        neighbours = {below for below in found.ideals if below & ~ideal == 0 and ideal & ~below in sizes}
        assert {found.ideals[below] for below in found.below[found.steps[at] : found.steps[at + 1]]} == neighbours


def test_a_group_takes_along_what_lies_between_its_members() -> None:
    parts = blocks(4, [(0, 1), (1, 2), (2, 3)], [[0, 2]])
    assert [members_of(members) for members, _ in parts] == [(0, 1, 2), (3,)]
