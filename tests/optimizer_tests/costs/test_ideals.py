"""Ideals against their definition: every subset of layers is tried."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from strategies import profile_of, random_profiles

from optimizer.costs import Problem, costs_of, rank
from optimizer.search import candidates_of
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


@pytest.mark.parametrize(
    ("name", "layers", "count"),
    [("alexnet", 22, 23), ("vgg16", 40, 41), ("resnet50", 175, 240), ("densenet121", 431, 432)],
)
def test_real_graphs_have_the_known_number_of_layers_and_ideals(name: str, layers: int, count: int) -> None:
    captured = capture(build(name, 10, 0), name, torch.zeros(2, 3, 64, 64))
    assert len(captured.layer_names) == layers
    found = candidates_of(problem_of(replace(profile_of(captured, 0), inseparable=())))
    assert found.complete
    assert len(found.ideals) == count
