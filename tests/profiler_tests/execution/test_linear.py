"""A large linear layer whose gradient has a place trains as torch's own does, bit for bit."""

import copy

import pytest
import torch
from torch import nn

from profiler.execution.linear import give_place, has_place, linear


@pytest.fixture
def layers() -> tuple[nn.Linear, nn.Linear, torch.Tensor]:
    """One with a place for its gradient, torch's own, and the place."""
    torch.manual_seed(1)
    own = nn.Linear(700, 500)
    theirs = copy.deepcopy(own)
    place = torch.full_like(own.weight, torch.nan)
    give_place(own.weight, place)
    return own, theirs, place


def same(first: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    return first is not None and other is not None and torch.equal(first, other)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 4, 16])
def test_outputs_and_gradients_are_torchs_own_and_are_written_to_the_place(
    layers: tuple[nn.Linear, nn.Linear, torch.Tensor],
    rows: int,
    bias: bool,  # noqa: FBT001
) -> None:
    own, theirs, place = layers
    if not bias:
        own.bias = theirs.bias = None  # type: ignore[assignment]
    for _ in range(2):  # two minibatches before an update: the second is added
        ours = torch.randn(rows, 700).requires_grad_()
        inputs = ours.detach().clone().requires_grad_()
        assert has_place(own, ours)
        outputs, expected = linear(own, ours), theirs(inputs)
        assert torch.equal(outputs, expected)
        gradient = torch.randn(rows, 500)
        torch.autograd.backward([outputs, expected], [gradient, gradient])
        assert same(own.weight.grad, theirs.weight.grad)
        assert same(ours.grad, inputs.grad)
        assert own.weight.grad is not None
        assert own.weight.grad.data_ptr() == place.data_ptr()
        assert not bias or same(own.bias.grad, theirs.bias.grad)


def test_what_is_no_matrix_is_left_to_torch(layers: tuple[nn.Linear, nn.Linear, torch.Tensor]) -> None:
    own, theirs, _ = layers
    assert not has_place(own, torch.zeros(2, 3, 700))
    assert not has_place(theirs, torch.zeros(2, 700)), "it has no place"
    assert not has_place(torch.relu, torch.zeros(2, 700))
