"""Update rules against torch.optim, and the ring of weight versions against the rule that names each version."""

from typing import Any

import pytest
import torch
from torch import nn

from profiler.execution import WeightVersions
from profiler.execution.segment import Place
from profiler.settings import UpdateRule

SGD, ADAM, ADAMW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
RULES: list[tuple[UpdateRule, Any, dict[str, Any]]] = [
    (UpdateRule(lr=0.1), SGD, {}),
    (UpdateRule(lr=0.1, momentum=0.9), SGD, {"momentum": 0.9}),
    (UpdateRule(lr=0.1, weight_decay=0.1), SGD, {"weight_decay": 0.1}),
    (UpdateRule(lr=0.1, momentum=0.9, weight_decay=0.1), SGD, {"momentum": 0.9, "weight_decay": 0.1}),
    (UpdateRule(lr=0.1, momentum=0.8, nesterov=True), SGD, {"momentum": 0.8, "nesterov": True}),
    (
        UpdateRule(lr=0.1, momentum=0.8, weight_decay=0.1, nesterov=True),
        SGD,
        {"momentum": 0.8, "weight_decay": 0.1, "nesterov": True},
    ),
    (UpdateRule(name="adam", lr=0.1), ADAM, {}),
    (UpdateRule(name="adam", lr=0.1, weight_decay=0.1), ADAM, {"weight_decay": 0.1}),
    (UpdateRule(name="adamw", lr=0.1), ADAMW, {"weight_decay": 0.0}),
    (UpdateRule(name="adamw", lr=0.1, weight_decay=0.1), ADAMW, {"weight_decay": 0.1}),
]


def versions_of(layer: nn.Linear, slots: int, rule: UpdateRule) -> WeightVersions:
    places = [Place(layer, "weight", "weight"), Place(layer, "bias", "bias")]
    state = {k: v.clone() for k, v in layer.state_dict().items()}
    return WeightVersions(places, ["weight", "bias"], state, slots, rule)


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize(("rule", "theirs", "options"), RULES)
def test_each_rule_trains_as_torch_does(rule: UpdateRule, theirs: Any, options: dict[str, Any], slots: int) -> None:
    """In double precision the order of operations is all that may differ."""
    torch.manual_seed(0)
    ours, other = nn.Linear(5, 3).double(), nn.Linear(5, 3).double()
    other.load_state_dict(ours.state_dict())
    versions = versions_of(ours, slots, rule)
    peer = theirs(other.parameters(), lr=0.1, **options)
    for minibatch in range(6):
        x = torch.randn(4, 5, dtype=torch.float64)
        used = versions.bind()
        assert used == minibatch
        if minibatch == 2:  # nothing depends on the bias this time
            torch.autograd.backward(nn.functional.linear(x, ours.weight).square().sum())
        else:
            torch.autograd.backward(ours(x).square().sum())
        versions.update(used)
        peer.zero_grad()
        torch.autograd.backward(
            nn.functional.linear(x, other.weight, None if minibatch == 2 else other.bias).square().sum()
        )
        peer.step()
        for name, tensor in versions.tensors().items():
            assert torch.allclose(tensor, other.get_parameter(name), rtol=1e-11, atol=1e-13), (minibatch, name)


def test_gradients_that_share_storage_are_not_changed_for_each_other() -> None:
    """Weight decay is added to a gradient; the gradients of two summed weights are one tensor."""
    a, b = torch.zeros(4), torch.ones(4)
    holder = nn.Module()
    holder.register_parameter("a", nn.Parameter(a.clone()))
    holder.register_parameter("b", nn.Parameter(b.clone()))
    places = [Place(holder, "a", "a"), Place(holder, "b", "b")]
    versions = WeightVersions(places, ["a", "b"], {"a": a, "b": b}, 2, UpdateRule(lr=1.0, weight_decay=0.5))
    used = versions.bind()
    torch.autograd.backward((holder.get_parameter("a").view(2, 2) + holder.get_parameter("b").view(2, 2)).sum())
    versions.update(used)
    assert versions.tensors()["a"].tolist() == [-1.0] * 4
    assert versions.tensors()["b"].tolist() == [-0.5] * 4
