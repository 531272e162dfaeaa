"""Weight versions against torch.optim.SGD, and their ring against the rule that names a minibatch's version."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from profiler.segment import Place
from profiler.update import UpdateRule
from profiler.versions import WeightVersions


def versions_of(layer: nn.Linear, depth: int, rule: UpdateRule) -> WeightVersions:
    places = [Place(layer, "weight", "weight"), Place(layer, "bias", "bias")]
    return WeightVersions(
        places, ["weight", "bias"], {k: v.clone() for k, v in layer.state_dict().items()}, depth, rule
    )


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_depth_one_trains_as_torch_sgd_does(momentum: float) -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(5, 3), nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    versions = versions_of(ours, 1, UpdateRule(0.1, momentum))
    sgd = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=momentum)
    for minibatch in range(5):
        x = torch.randn(4, 5)
        versions.bind(minibatch)
        ours(x).square().sum().backward()
        versions.update(minibatch)
        sgd.zero_grad()
        theirs(x).square().sum().backward()
        sgd.step()
    assert torch.allclose(versions.tensors(5)["weight"], theirs.weight, rtol=1e-6, atol=1e-7)
    assert torch.allclose(versions.tensors(5)["bias"], theirs.bias, rtol=1e-6, atol=1e-7)


@settings(deadline=None, max_examples=30)
@given(depth=st.integers(1, 5), minibatches=st.integers(1, 9))
def test_every_minibatch_computes_with_the_version_that_it_is_due(depth: int, minibatches: int) -> None:
    """With gradient 1, learning rate 1 and no momentum, version v of a weight that starts at 0 is −v."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    versions = WeightVersions(
        [Place(layer, "weight", "weight")],
        ["weight"],
        {"weight": layer.weight.detach().clone()},
        depth,
        UpdateRule(lr=1.0, momentum=0.0),
    )
    outputs = {}
    x = torch.ones(1, 1, requires_grad=True)

    def forward(minibatch: int) -> None:
        versions.bind(versions.used_by(minibatch))
        outputs[minibatch] = layer(x)

    for minibatch in range(min(depth, minibatches)):
        forward(minibatch)
    for minibatch in range(minibatches):
        due = max(0, minibatch - depth + 1)
        (gradient,) = torch.autograd.grad(outputs[minibatch], [x], retain_graph=True)
        torch.autograd.backward(outputs[minibatch])
        assert outputs[minibatch].item() == -due, "the forward used the version that was due"
        assert gradient.item() == -due, "so did the backward, though newer versions were written since"
        versions.update(minibatch)
        if minibatch + depth < minibatches:
            forward(minibatch + depth)
    assert versions.tensors(minibatches)["weight"].item() == -minibatches


def test_a_weight_without_a_gradient_stays_as_it_is() -> None:
    layer = nn.Linear(2, 2)
    start = layer.weight.detach().clone()
    versions = versions_of(layer, 2, UpdateRule(0.1, 0.9))
    for minibatch in range(3):
        versions.bind(minibatch)
        versions.update(minibatch)
    assert torch.equal(versions.tensors(3)["weight"], start)


def test_a_frozen_parameter_is_bound_and_never_changes() -> None:
    layer = nn.Linear(2, 2)
    layer.weight.requires_grad = False
    state = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    places = [Place(layer, "weight", "weight"), Place(layer, "bias", "bias")]
    versions = WeightVersions(places, ["bias"], state, 2, UpdateRule(0.1, 0.9))
    versions.bind(0)
    layer(torch.ones(1, 2)).sum().backward()
    versions.update(0)
    assert layer.weight.grad is None
    assert torch.equal(layer.weight, state["weight"])
    assert not layer.weight.requires_grad
