"""What layers keep, against sums done by hand."""

import torch
from torch import Tensor, nn

from profiler.capture.layer_graph import capture
from profiler.execution import WeightVersions, whole
from profiler.measure.memory import saved_bytes
from profiler.profile import INPUT
from profiler.settings import UpdateRule


def saved_of(model: nn.Module, sample: torch.Tensor) -> dict[str, int]:
    captured = capture(model.train(), "model", sample)
    segment = whole(captured)
    state = dict(captured.model.named_parameters()) | dict(captured.model.named_buffers())
    versions = WeightVersions(segment.places, segment.parameters, state, 1, UpdateRule(lr=0.1, momentum=0.0))
    return dict(zip(captured.layer_names, saved_bytes(segment, versions, {INPUT: sample}), strict=True))


def test_a_storage_counts_once_and_at_the_layer_that_made_it() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(inplace=True), nn.Linear(16, 5), nn.ReLU())
    saved = saved_of(model, torch.randn(4, 3, 2, 2))
    # Layer 1 saves the input, which is nobody's; ReLU and layer 3 both save layer 1's output; the last ReLU its own.
    assert saved == {"0": 0, "1": 4 * 16 * 4, "2": 0, "3": 0, "4": 4 * 5 * 4}


def test_neither_frozen_parameters_nor_buffers_count_as_saved() -> None:
    """The frozen layer's weight is needed for the gradient of its input, and is there anyway."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.Linear(16, 16), nn.Linear(16, 5))
    model[2].requires_grad_(requires_grad=False)
    assert saved_of(model, torch.randn(4, 3, 2, 2)) == {"0": 0, "1": 0, "2": 4 * 16 * 4, "3": 0}


def test_what_a_tuple_holds_counts_at_the_layer_that_made_it() -> None:
    class Best(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flatten, self.first, self.fc = nn.Flatten(), nn.Linear(12, 16), nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            values, _ = torch.topk(self.first(self.flatten(x)), 8)
            result: Tensor = self.fc(values)
            return result

    saved = saved_of(Best(), torch.randn(4, 3, 2, 2))
    assert saved["topk"] == 4 * 8 * (4 + 8), "values for the linear layer, places for its own backward"
    assert saved["topk.getitem"] == 0
