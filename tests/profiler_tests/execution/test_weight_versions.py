"""Update rules against torch.optim, and the ring of weight versions against the rule that names each version."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from paces import some_schedule
from simulations import orders, simulated
from torch import nn

from optimizer.schedule import SCHEDULES, Duration, ScheduleName, requirements_of
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


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(list(SCHEDULES)),
    stages=st.integers(1, 4),
    minibatches=st.integers(1, 9),
    every=st.integers(1, 5),
)
def test_every_minibatch_computes_with_the_version_that_it_is_due(
    name: ScheduleName, stages: int, minibatches: int, every: int
) -> None:
    """With gradient 1, learning rate 1 and no momentum, a weight that starts at 0 is minus the gradients applied."""
    schedule = some_schedule(name, stages, minibatches, every)
    rows = orders(simulated(schedule, [Duration(1, 1, 1, 1)] * stages))
    for stage, (row, needs) in enumerate(zip(rows, requirements_of(schedule), strict=True)):
        layer = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(layer.weight)
        initial = {"weight": layer.weight.detach().clone()}
        rule = UpdateRule(lr=1.0)
        versions = WeightVersions([Place(layer, "weight", "weight")], ["weight"], initial, needs.versions, rule)
        x = torch.ones(1, 1, requires_grad=True)
        outputs: dict[int, tuple[int, torch.Tensor]] = {}
        for action in row:
            minibatch = action.minibatch
            due = minibatch // schedule.pace.update_every * schedule.pace.update_every
            if name == "1f1b":
                due = max(0, minibatch - min(stages - stage, minibatches) + 1)
            if action.kind == "F":
                used = versions.bind()
                outputs[minibatch] = used, layer(x)
            elif action.kind == "B":
                used, output = outputs[minibatch]
                (gradient,) = torch.autograd.grad(output, [x], retain_graph=True)
                torch.autograd.backward(output)
                assert output.item() == -due, "the forward used the version that was due"
                assert gradient.item() == -due, "so did the backward, though newer versions were written since"
            elif action.kind == "U":
                versions.update(outputs[minibatch][0])
        assert versions.tensors()["weight"].item() == -minibatches


def test_a_weight_without_a_gradient_stays_as_it_is() -> None:
    layer = nn.Linear(2, 2)
    start = layer.weight.detach().clone()
    versions = versions_of(layer, 2, UpdateRule(lr=0.1, momentum=0.9, weight_decay=0.1))
    for _ in range(3):
        versions.update(versions.bind())
    assert torch.equal(versions.tensors()["weight"], start)


def test_a_frozen_parameter_is_bound_and_never_changes() -> None:
    layer = nn.Linear(2, 2)
    layer.weight.requires_grad = False
    state = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    places = [Place(layer, "weight", "weight"), Place(layer, "bias", "bias")]
    versions = WeightVersions(places, ["bias"], state, 2, UpdateRule(lr=0.1, momentum=0.9))
    used = versions.bind()
    torch.autograd.backward(layer(torch.ones(1, 2)).sum())
    versions.update(used)
    assert layer.weight.grad is None
    assert torch.equal(layer.weight, state["weight"])
    assert not layer.weight.requires_grad


def test_overwriting_is_what_a_ring_of_one_version_does() -> None:
    torch.manual_seed(0)
    layer, other = nn.Linear(3, 2), nn.Linear(3, 2)
    other.load_state_dict(layer.state_dict())
    rule = UpdateRule(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)
    ring, single = versions_of(layer, 2, rule), versions_of(other, 1, rule)
    x = torch.randn(4, 3)
    for _ in range(3):
        for module, versions in ((layer, ring), (other, single)):
            used = versions.bind()
            torch.autograd.backward(module(x).square().sum())
            if versions is single:
                versions.update(used)
            else:
                gradients = versions.gradients(used)
                versions.overwrite(used, ["weight", "bias"])
                assert not versions.gradients(used)
                versions.give_gradients(used, gradients)
                assert versions.gradients(used).keys() == gradients.keys()
                versions.drop_gradients()
        for name, tensor in single.tensors().items():
            assert torch.equal(ring.tensors()[name], tensor)
    assert ring.newest == 0, "no further version was written"
