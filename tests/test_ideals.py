"""Ideals against their definition: every subset of layers is tried."""

import pytest
import torch
from hypothesis import given, settings
from strategies import random_profiles

from optimizer.costs import costs_of
from optimizer.ideals import blocks, enumerate_ideals, members_of, prefixes, rank
from profiler.capture import capture
from profiler.models import build
from profiler.types import INPUT, Profile


def ideals_by_definition(profile: Profile) -> set[int]:
    """All sets of layers that contain every predecessor of their members and split no group."""
    position = {layer.name: index for index, layer in enumerate(profile.layers)}
    edges = [(position[e.source], position[e.target]) for e in profile.edges if e.source != INPUT]
    groups = [[position[name] for name in group] for group in profile.together]
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
    found = enumerate_ideals(costs_of(profile).parts)
    assert found is not None
    assert set(found) == ideals_by_definition(profile)
    assert found == sorted(found, key=rank)
    assert len(set(found)) == len(found)


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
    position = {layer: index for index, layer in enumerate(captured.layer_names)}
    edges = [(position[e.source], position[e.target]) for e in captured.edges if e.source != INPUT]
    found = enumerate_ideals(blocks(len(position), edges, []))
    assert found is not None
    assert len(found) == count


def test_more_ideals_than_the_limit_are_not_enumerated() -> None:
    independent = blocks(20, [], [])
    assert enumerate_ideals(independent, limit=1000) is None


def test_a_group_takes_along_what_lies_between_its_members() -> None:
    parts = blocks(4, [(0, 1), (1, 2), (2, 3)], [[0, 2]])
    assert [members_of(members) for members, _ in parts] == [(0, 1, 2), (3,)]
