"""The correction of updates for staleness against algebra: what a gradient does in all, and when a delay is borne."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from profiler.execution import Moments, RunningNorm, WeightVersions, correction, write_corrected
from profiler.execution.segment import Place
from profiler.execution.stale_update import SAMPLED, Correction
from profiler.settings import UpdateRule

SGD = UpdateRule(lr=0.1, momentum=0.9)
RULES = [
    SGD, replace(SGD, nesterov=True), replace(SGD, weight_decay=0.1), replace(SGD, momentum=0), replace(SGD, clip=0.5),
    UpdateRule(name="adam", lr=0.1, weight_decay=0.1), UpdateRule(name="adamw", lr=0.1, weight_decay=0.1),
]  # fmt: skip


def corrected(rule: UpdateRule, staleness: int) -> Correction:
    found = correction(rule, staleness)
    assert found
    return found


def written(
    rule: UpdateRule,
    staleness: int,
    gradients: list[Tensor],
    weight: Tensor,
    scales: Sequence[float] = (),
    **options: Any,
) -> Tensor:
    """What some gradients make of a weight, one after the other."""
    moments, correct = Moments.before_any(rule, weight), corrected(rule, staleness)
    for gradient, scale in zip(gradients, scales or [1.0] * len(gradients), strict=True):
        out = torch.empty_like(weight)
        write_corrected(rule, correct, weight, gradient, moments, scale=scale, out=out, **options)
        weight = out
    return weight


def test_nothing_is_corrected_where_nothing_is_stale_or_nobody_wants_it() -> None:
    assert correction(SGD, 0) is None
    assert correction(replace(SGD, correct_staleness=False), 3) is None


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("staleness", [1, 3, 7])
def test_a_gradient_moves_a_weight_as_far_as_without_staleness(staleness: int, *, nesterov: bool) -> None:
    """As far in all, η ÷ (1 − μ) times itself, and nearly as far at once."""
    impulse, nothing = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    rule = replace(SGD, nesterov=nesterov)
    moved = written(rule, staleness, [impulse, *[nothing] * 2000], nothing)
    assert float(moved) == pytest.approx(-0.1 / (1 - 0.9))
    at_once = -float(written(rule, staleness, [impulse], nothing)) / 0.1
    assert 0.8 < at_once <= 2


def converges(rule: UpdateRule, staleness: int, curvature: float) -> bool:
    """Whether gradient descent on curvature · w² ÷ 2 ends at 0 where gradients are so many updates old."""
    weight = torch.ones((), dtype=torch.float64)
    older, moments = deque([weight] * (staleness + 1), maxlen=staleness + 1), Moments.before_any(rule, weight)
    for _ in range(3000):
        out = torch.empty_like(weight)
        correct = correction(rule, staleness) or Correction(rule.momentum, 0.0)
        slope = curvature * older[0]
        write_corrected(rule, correct, weight, slope, moments, scale=1.0, out=out)
        weight = out
        older.append(weight)
        if abs(float(weight)) > 1e6:
            return False
    return abs(float(weight)) < 1e-3


@pytest.mark.parametrize(("staleness", "borne", "plainly"), [(1, 3.0, 0.9), (3, 0.8, 0.3), (7, 0.35, 0.15)])
def test_steeper_valleys_are_borne_than_plainly(staleness: int, borne: float, plainly: float) -> None:
    """``borne`` and ``plainly`` are η · curvature ÷ (1 − μ); the plain limit is that of the characteristic polynomial.

    With z^(τ+2) − (1 + μ) z^(τ+1) + μ z^τ + η·curvature = 0 for the plain rule.
    """
    polynomial = np.zeros(staleness + 3)
    polynomial[:3] = 1, -1.9, 0.9
    for limit in (plainly, borne):
        polynomial[-1] = 0
        polynomial[-2] += limit * (1 - 0.9)
        inside = bool(np.all(np.abs(np.roots(polynomial[:-1])) < 1))
        polynomial[-2] -= limit * (1 - 0.9)
        curvature = limit * (1 - 0.9) / 0.1
        assert converges(replace(SGD, correct_staleness=False), staleness, curvature) is inside is (limit == plainly)
        assert converges(SGD, staleness, curvature)


@pytest.mark.parametrize("staleness", [1, 4])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_the_formulas_in_numpy_give_the_same(rule: UpdateRule, staleness: int) -> None:
    torch.manual_seed(0)
    weight = torch.randn(3, 2, dtype=torch.float64)
    gradients = [torch.randn(3, 2, dtype=torch.float64) for _ in range(5)]
    scales = [1.0, 0.5, 1.0, 1e-6, 0.7] if rule.name == "sgd" else [1.0] * 5
    found = written(rule, staleness, gradients, weight, scales)
    w, first, second = weight.numpy(), np.zeros((3, 2)), np.zeros((3, 2))
    own = rule.momentum
    longer = (own + staleness) / (1 + staleness) if own else 0.0
    share = min(1.0, (staleness + rule.nesterov) * (1 - longer))
    if rule.name != "sgd":
        longer = 1 - 0.1 / math.sqrt(1 + staleness)
        share = min(1.0, 1.5 * staleness * 0.1 / math.sqrt(1 + staleness))
    for count, (gradient, scale) in enumerate(zip(gradients, scales, strict=True), 1):
        g = scale * gradient.numpy()
        g = np.clip(g, -rule.clip, rule.clip) if rule.clip else g
        g = g + rule.weight_decay * w if rule.name != "adamw" else g
        if rule.name == "sgd":
            first = longer * first + g * (1 - longer) / (1 - own)
            w = w - rule.lr * ((1 - share) * first * (own > 0) + share / (1 - own) * g)
            continue
        first, second = first + (1 - longer) * (g - first), 0.999 * second + 0.001 * g * g
        step = (1 - share) * first / (1 - longer**count) + share * g
        w = w * (1 - rule.lr * rule.weight_decay * (rule.name == "adamw"))
        w = w - rule.lr * step / (np.sqrt(second / (1 - 0.999**count)) + rule.eps)
    np.testing.assert_allclose(found.numpy(), w, rtol=1e-9)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_how_a_weight_lies_in_memory_and_its_cast_change_no_bit(rule: UpdateRule) -> None:
    torch.manual_seed(0)
    weight, gradients = torch.randn(5, 4, 3, 3), [torch.randn(5, 4, 3, 3) for _ in range(3)]
    expected = written(rule, 2, gradients, weight)
    last = weight.to(memory_format=torch.channels_last)
    assert torch.equal(written(rule, 2, gradients, last), expected), "gradients lie otherwise than the weight"
    theirs = [gradient.to(memory_format=torch.channels_last) for gradient in gradients]
    cast = torch.empty_like(last, dtype=torch.bfloat16)
    assert torch.equal(written(rule, 2, theirs, last, cast=cast), expected)
    assert torch.equal(cast, expected.to(torch.bfloat16))
    lower = [gradient.to(torch.bfloat16) for gradient in gradients]
    higher = written(rule, 2, [gradient.float() for gradient in lower], weight)
    assert torch.equal(written(rule, 2, lower, weight), higher)


def held(layer: nn.Linear, slots: int, rule: UpdateRule = SGD) -> WeightVersions:
    places = [Place(layer, "weight", "weight"), Place(layer, "bias", "bias")]
    return WeightVersions(
        places, ["weight", "bias"], {k: v.clone() for k, v in layer.state_dict().items()}, slots, rule
    )


def test_a_drained_stage_hands_on_the_momentum_itself() -> None:
    """Whatever its unit was, so that another stage, of another staleness or none, goes on from it."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 2).double()
    versions, momentum, norm = held(layer, 3), np.zeros((2, 3)), 0.0
    longer = 1 - (1 - 0.9) / 3
    for number in range(4):
        used = versions.bind()
        torch.autograd.backward((number + 1) * layer(torch.randn(4, 3, dtype=torch.float64)).square().sum())
        gradients = versions.gradients(used)
        found = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients.values()))
        scale = min(1.0, norm / found) if norm else 1.0
        norm = 0.9 * norm + 0.1 * min(max(found, norm / 1.1), 1.1 * norm) if norm else found
        momentum = longer * momentum + scale / 3 * gradients["weight"].numpy()
        versions.update(used)
    state = versions.state()
    np.testing.assert_allclose(state["weight@0"].numpy(), momentum, rtol=1e-9)
    assert float(state["bias@norm"]) == pytest.approx(norm)
    assert all(torch.equal(tensor, state[name]) for name, tensor in versions.state().items())


def test_layers_that_are_updated_one_by_one_stay_finite_where_some_have_no_gradient() -> None:
    """As the profiler times them, round after round on the same weights."""
    layer = nn.Linear(3, 2)
    versions = held(layer, 2, replace(SGD, lr=0.0))
    for _ in range(500):
        used = versions.bind()
        torch.autograd.backward(layer(torch.ones(4, 3)).square().sum() + 0 * layer.bias.sum())
        for path, factor in (("weight", 1), ("bias", 0)):
            versions.gradients(used)[path].mul_(factor)
            versions.write(used, [path])
        versions.advance()
    assert all(torch.isfinite(tensor).all() for tensor in versions.state().values())


@given(norms=st.lists(st.floats(0.01, 100), min_size=2, max_size=50))
def test_the_norm_of_gradients_is_bounded_by_one_that_moves_slowly(norms: list[float]) -> None:
    running, before = RunningNorm(), math.inf
    for norm in norms:
        scale = running.scale([torch.tensor([0.6 * norm]), torch.tensor([[0.8 * norm]])])
        assert scale <= 1
        assert scale * norm <= before * (1 + 1e-6)
        assert before == math.inf or 0.99 * before <= running.value <= 1.01 * before * (1 + 1e-9)
        before = running.value


def test_a_running_norm_begins_at_the_first_that_is_a_number_and_goes_on_whatever_comes() -> None:
    running = RunningNorm()
    for first in (torch.zeros(3), torch.full((3,), math.nan)):
        assert running.scale([first]) == 1.0
        assert running.value == 0
    assert running.scale([torch.tensor([3.0, 4.0])]) == 1.0
    assert running.value == 5
    for odd in (torch.full((3,), math.nan), torch.zeros(3)):
        assert running.scale([odd]) == 1.0
        assert running.value == 5
    assert running.scale([torch.full((3,), math.inf)]) == 1e-6
    assert running.value == pytest.approx(5 * 1.01)
    assert RunningNorm([4.5, 4.5]).value == 4.5, "of one stage's weights"
    assert RunningNorm([3.0, 4.0]).value == 5, "of two stages' weights that are in one now"
    assert RunningNorm([3.0, 0.0]).value == 0, "one of them had none"


def test_of_a_large_gradient_the_norm_of_its_first_rows_is_taken_however_they_lie() -> None:
    gradient = torch.ones(4, SAMPLED)
    gradient[0] = 0
    gradient[0, :2] = torch.tensor([3.0, 4.0])
    for same in (gradient, gradient.t().contiguous().t()):
        running = RunningNorm()
        running.scale([same])
        assert running.value == 5


def test_an_update_in_place_is_the_plain_rule() -> None:
    """As in stages that hold one version of their weights, whose gradients are never stale."""
    torch.manual_seed(0)
    layer, other = nn.Linear(3, 2), nn.Linear(3, 2)
    other.load_state_dict(layer.state_dict())
    places = [Place(layer, "weight", "weight"), Place(layer, "bias", "bias")]
    state = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    versions = WeightVersions(places, ["weight", "bias"], state, 1, SGD)
    peer = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    for _ in range(4):
        inputs = torch.randn(4, 3)
        used = versions.bind()
        torch.autograd.backward(layer(inputs).square().sum())
        versions.update(used)
        peer.zero_grad()
        torch.autograd.backward(other(inputs).square().sum())
        peer.step()
    for name, weight in other.named_parameters():
        torch.testing.assert_close(versions.tensors()[name], weight.detach())
