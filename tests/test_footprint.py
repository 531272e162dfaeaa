"""What layers compute and keep, against sums done by hand."""

import torch
from torch import nn

from profiler.capture import capture
from profiler.footprint import Footprint, footprint
from profiler.segment import whole
from profiler.update import UpdateRule
from profiler.versions import WeightVersions


def print_of(model: nn.Module, sample: torch.Tensor) -> tuple[list[str], Footprint]:
    captured = capture(model.train(), "model", sample)
    segment = whole(captured)
    state = dict(captured.model.named_parameters()) | dict(captured.model.named_buffers())
    versions = WeightVersions(segment.places, segment.parameters, state, 1, UpdateRule(0.1, 0.0))
    return list(captured.layer_names), footprint(segment, versions, sample)


def test_flops_are_two_a_multiply_add() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 6 * 6, 10))
    _, found = print_of(model, torch.randn(4, 3, 8, 8))
    assert found.flops == (2 * 4 * 8 * 6 * 6 * 3 * 9, 0, 2 * 4 * 288 * 10)


def test_a_storage_counts_once_and_at_the_layer_that_made_it() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(inplace=True), nn.Linear(16, 5), nn.ReLU())
    names, found = print_of(model, torch.randn(4, 3, 2, 2))
    saved = dict(zip(names, found.saved_bytes, strict=True))
    # Layer 1 saves the input, which is nobody's; ReLU and layer 3 both save layer 1's output; the last ReLU its own.
    assert saved == {"0": 0, "1": 4 * 16 * 4, "2": 0, "3": 0, "4": 4 * 5 * 4}


def test_parameters_do_not_count_as_saved() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 1000), nn.Linear(1000, 5))
    _, found = print_of(model, torch.randn(1, 3, 2, 2))
    assert sum(found.saved_bytes) == 1000 * 4
