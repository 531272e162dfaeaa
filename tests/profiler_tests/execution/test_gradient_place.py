"""A large linear layer whose gradient has a place trains as torch's own does, bit for bit."""

import copy

import pytest
import torch
from odd_forwards import double_output
from torch import nn

from profiler.capture.layer_graph import capture
from profiler.execution import whole
from profiler.execution.gradient_place import GradientPlace, give_place, has_place
from profiler.execution.split_backward import output_of


@pytest.fixture
def layers() -> tuple[nn.Linear, nn.Linear, GradientPlace]:
    """One with a place for its gradient, of several pieces, the last smaller; torch's own; and the place."""
    torch.manual_seed(1)
    own = nn.Linear(3000, 1001)
    theirs = copy.deepcopy(own)
    place = GradientPlace(own.weight)
    assert isinstance(own.weight, nn.Parameter)
    give_place(own.weight, place)
    return own, theirs, place


def same(first: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    return first is not None and other is not None and torch.equal(first, other)


@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 4, 16, 40])
def test_outputs_and_gradients_are_torchs_own_and_are_written_to_the_place(
    layers: tuple[nn.Linear, nn.Linear, GradientPlace],
    rows: int,
    bias: bool,  # noqa: FBT001
) -> None:
    own, theirs, place = layers
    if not bias:
        own.bias = theirs.bias = None  # type: ignore[assignment]
    for _ in range(3):  # three minibatches before an update: the others are added, of few samples in pieces
        ours = torch.randn(rows, 3000).requires_grad_()
        inputs = ours.detach().clone().requires_grad_()
        assert has_place(own, ours)
        outputs, expected = output_of(own, ours), theirs(inputs)
        assert torch.equal(outputs, expected)
        gradient = torch.randn(rows, 1001)
        torch.autograd.backward([outputs, expected], [gradient, gradient])
        assert same(own.weight.grad, theirs.weight.grad)
        assert same(ours.grad, inputs.grad)
        assert own.weight.grad is not None
        assert own.weight.grad.data_ptr() == place.whole.data_ptr()
        assert not bias or same(own.bias.grad, theirs.bias.grad)


def placeable(model: nn.Module, inputs: torch.Tensor) -> tuple[str, ...]:
    return whole(capture(model.train(), "model", inputs)).placeable


class Twice(nn.Module):
    """One layer that is run twice, one whose weight another one has, too, and one that is called by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.again, self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.named, self.last = nn.Linear(8, 8), nn.Linear(8, 5)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.second(self.first(self.again(self.again(x))))
        x = self.named(input=x)
        return self.last(x)  # type: ignore[no-any-return]


def test_only_weights_of_plain_layers_that_are_used_once_may_have_a_place() -> None:
    assert placeable(Twice(), torch.zeros(2, 8)) == ("last.weight",)
    hooked = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 5))
    assert placeable(hooked, torch.zeros(2, 8)) == ("0.weight", "2.weight")
    hooked[0].register_forward_hook(double_output)
    assert placeable(hooked, torch.zeros(2, 8)) == ("2.weight",)
