"""Ideals of real graphs, by their known number."""

from dataclasses import replace

import pytest
import torch
from strategies import profile_of

from optimizer.costs import Problem, costs_of
from optimizer.search import candidates_of
from profiler.capture.layer_graph import capture
from profiler.capture.models import build


@pytest.mark.parametrize(
    ("name", "layers", "count"),
    [("alexnet", 22, 23), ("vgg16", 40, 41), ("resnet50", 175, 240), ("densenet121", 431, 432)],
)
def test_real_graphs_have_the_known_number_of_layers_and_ideals(name: str, layers: int, count: int) -> None:
    captured = capture(build(name, 10, 0), name, torch.zeros(2, 3, 64, 64))
    assert len(captured.layer_names) == layers
    found = candidates_of(Problem(costs_of(replace(profile_of(captured, 0), inseparable=())), 1, 8))
    assert found.complete
    assert len(found.ideals) == count
