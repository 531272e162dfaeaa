"""The correction of updates for staleness against algebra: what a gradient does in all, and when a delay is borne."""

import math
from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from profiler.execution import Moments, WeightVersions, correction, write_version
from profiler.execution.segment import Place
from profiler.execution.stale_update import ROWS, SAMPLED, Correction, _sample
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
    *,
    bounded: bool = True,
    **options: Any,
) -> Tensor:
    """What some gradients make of a weight, one after the other."""
    moments, correct = Moments.before_any(rule, weight), corrected(rule, staleness)
    correct = correct if bounded else replace(correct, reach=math.inf)
    for gradient in gradients:
        out = torch.empty_like(weight)
        write_version(rule, correct, weight, gradient, moments, out=out, **options)
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
    moved = written(rule, staleness, [impulse, *[nothing] * 2000], nothing, bounded=False)
    assert float(moved) == pytest.approx(-0.1 / (1 - 0.9))
    at_once = -float(written(rule, staleness, [impulse], nothing, bounded=False)) / 0.1
    assert 0.8 < at_once <= 2


def converges(rule: UpdateRule, staleness: int, curvature: float) -> bool:
    """Whether gradient descent on curvature · w² ÷ 2 ends at 0 where gradients are so many updates old."""
    weight = torch.ones((), dtype=torch.float64)
    older, moments = deque([weight] * (staleness + 1), maxlen=staleness + 1), Moments.before_any(rule, weight)
    for _ in range(3000):
        out = torch.empty_like(weight)
        correct = replace(correction(rule, staleness) or Correction(rule.momentum, 0.0), reach=math.inf)
        write_version(rule, correct, weight, curvature * older[0], moments, out=out)
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
    gradients = [factor * torch.randn(3, 2, dtype=torch.float64) for factor in (1, 2, 0.01, 1e9, 0.1)]
    found = written(rule, staleness, gradients, weight)
    w, first, second = weight.numpy(), np.zeros((3, 2)), np.zeros((3, 2))
    own = rule.momentum
    longer = (own + staleness) / (1 + staleness) if own else 0.0
    share = min(1.0, (staleness + rule.nesterov) * (1 - longer))
    if rule.name != "sgd":
        longer = 1 - 0.1 / math.sqrt(1 + staleness)
        share = min(1.0, 1.5 * staleness * 0.1 / math.sqrt(1 + staleness))
    for count, gradient in enumerate(gradients, 1):
        g = gradient.numpy()
        if rule.name == "sgd":
            furthest = 0.15 / staleness * max(np.sqrt(np.square(w).sum()), 0.01 * math.sqrt(6))
            g = g * np.clip(furthest / (rule.lr / (1 - own) * np.sqrt(np.square(g).sum())), 0, 1)
        g = np.clip(g, -rule.clip, rule.clip) if rule.clip else g
        g = g + rule.weight_decay * w if rule.name != "adamw" else g
        if rule.name == "sgd":
            first = longer * first + g * (1 - longer) / (1 - own)
            w = w - rule.lr * ((1 - share) * first * (own > 0) + share / (1 - own) * g)
            continue
        first = first + (1 - longer) * (g - first)
        second = np.maximum(0.999 * second + 0.001 * g * g, 0.03 * staleness * g * g)
        step = (1 - share) * first / (1 - longer**count) + share * g
        w = w * (1 - rule.lr * rule.weight_decay * (rule.name == "adamw"))
        w = w - rule.lr * step / (np.sqrt(second / (1 - 0.999**count)) + rule.eps)
    np.testing.assert_allclose(found.numpy(), w, rtol=1e-9)


@pytest.mark.parametrize("staleness", [1, 7, 50])
def test_a_sudden_gradient_moves_a_weight_of_adam_little_further_than_those_before(staleness: int) -> None:
    """However large it is: plainly it would go √(1 ÷ (1 − β₂)) as far, 31 times."""
    rule, one = UpdateRule(name="adam", lr=0.1), torch.ones((), dtype=torch.float64)
    before = written(rule, staleness, [one] * 300, one)
    after = written(rule, staleness, [*[one] * 300, 1e6 * one], one)
    bias, longer = 1 - 0.999**301, 1 - 0.1 / math.sqrt(1 + staleness)
    share = min(1.0, 1.5 * staleness * (1 - longer))
    step = (1 - share) * (1 - longer) / (1 - longer**301) + share
    least = min(1.0, 0.03 * staleness) / bias
    assert float(before - after) == pytest.approx(0.1 * step / math.sqrt(least), rel=1e-3)


@pytest.mark.parametrize("shape", [(5, 4, 3, 3), (600, 50, 3, 3)])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_how_a_weight_lies_in_memory_and_its_cast_change_no_bit(rule: UpdateRule, shape: tuple[int, ...]) -> None:
    """The larger one is worked on in pieces."""
    torch.manual_seed(0)
    weight, gradients = torch.randn(shape), [torch.randn(shape) for _ in range(3)]
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


def held(layer: nn.Linear, slots: int, **options: Any) -> WeightVersions:
    state = {path: tensor.clone() for path, tensor in layer.state_dict().items()}
    return WeightVersions([Place(layer, path, path) for path in state], list(state), state, slots, SGD, **options)


def test_a_drained_stage_hands_on_the_momentum_itself() -> None:
    """Whatever its unit was, so that another stage, of another staleness or none, goes on from it."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 2).double()
    versions, momentum = held(layer, 3), np.zeros((2, 3))
    longer = 1 - (1 - 0.9) / 3
    for number in range(4):
        used = versions.bind()
        torch.autograd.backward((number + 1) * layer(torch.randn(4, 3, dtype=torch.float64)).square().sum())
        gradient, weight = versions.gradients(used)["weight"], versions.tensors()["weight"]
        scale = min(1.0, 0.15 / 2 * float(weight.norm() / gradient.norm()))
        momentum = longer * momentum + scale / 3 * gradient.numpy()
        versions.update(used)
    state = versions.state()
    np.testing.assert_allclose(state["weight@0"].numpy(), momentum, rtol=1e-9)
    assert all(torch.equal(tensor, state[name]) for name, tensor in versions.state().items())


@given(
    slope=st.floats(1e-3, 1e6),
    length=st.floats(0, 100),
    staleness=st.integers(1, 7),
    momentum=st.sampled_from([0, 0.5]),
)
def test_gradients_under_way_move_a_weight_by_a_share_of_its_norm_at_most(
    slope: float, length: float, staleness: int, momentum: float
) -> None:
    """In all, however large they are, and just as far as without the bound where that is less."""
    direction = torch.tensor([0.6, 0.8], dtype=torch.float64)
    rule, weight, still = replace(SGD, momentum=momentum), length * direction, torch.zeros_like(direction)
    moved = written(rule, staleness, [slope * direction, *[still] * 300], weight) - weight
    most = 0.15 / staleness * max(length, 0.01 * math.sqrt(2))
    assert float(moved.norm()) == pytest.approx(min(most, slope * 0.1 / (1 - momentum)), rel=1e-6)


@pytest.mark.parametrize("odd", [0.0, math.nan])
def test_what_is_nothing_or_no_number_is_not_bounded(odd: float) -> None:
    weight = torch.ones(3)
    moved = written(replace(SGD, momentum=0), 2, [torch.full((3,), odd)], weight)
    torch.testing.assert_close(moved, weight - 0.1 * odd, equal_nan=True)
    assert torch.equal(written(replace(SGD, lr=0.0), 2, [torch.ones(3)], weight), weight)
    assert not torch.isfinite(written(SGD, 2, [torch.full((3,), math.inf)], weight)).any(), "and so is seen"


@pytest.mark.parametrize("shape", [(512, 64), (SAMPLED + 1,), (3, SAMPLED), (7, 1, SAMPLED)])
def test_some_elements_of_a_large_weight_tell_the_norm_however_it_lies(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    weight, gradient = torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64) * 1e3
    rule = replace(SGD, momentum=0, lr=1.0)
    found = written(rule, 1, [gradient], weight)
    assert float((found - weight).norm() / weight.norm()) == pytest.approx(0.15, rel=0.1)
    theirs = gradient.transpose(0, -1).contiguous().transpose(0, -1)
    assert torch.equal(written(rule, 1, [theirs], weight), found)


@given(rows=st.integers(1, 3000), columns=st.integers(1, 3000), inner=st.integers(1, 9), number=st.integers(0, 10**9))
def test_elements_that_tell_the_norm_are_few_and_lie_in_rows_from_end_to_end(
    rows: int, columns: int, inner: int, number: int
) -> None:
    places = torch.arange(rows)[:, None, None].expand(rows, columns, inner)
    found = _sample(places, number)
    assert found.numel() <= SAMPLED
    assert found.numel() >= min(places.numel(), SAMPLED / 4)
    told = found[:, 0, 0]
    assert len(set(told.diff().tolist())) <= 1, "evenly"
    assert len(told) >= min(rows, ROWS) / 2


def test_of_a_gradient_that_few_rows_have_all_tell_the_norm() -> None:
    """As of an embedding of a large vocabulary."""
    weight, gradient = torch.ones(SAMPLED, 8), torch.zeros(SAMPLED, 8)
    gradient[2, :2] = torch.tensor([3000.0, 4000.0])
    moved = weight - written(replace(SGD, momentum=0, lr=1.0), 1, [gradient], weight)
    assert float(moved.norm()) == pytest.approx(0.15 * float(weight.norm()))


def test_a_gradient_that_a_low_learning_rate_let_through_moves_no_weight_further_when_it_rises() -> None:
    """As it does at the beginning of training, where gradients are largest."""
    layer = nn.Linear(2, 2, bias=False)
    before = layer.weight.detach().clone()
    rates = [0.0, 0.001, 0.01, *[0.1] * 500]
    versions = held(layer, 3, learning_rate=rates.__getitem__)
    for number in range(500):
        used = versions.bind()
        torch.autograd.backward((1000.0 if number < 3 else 0.0) * layer(torch.ones(1, 2)).sum())
        versions.update(used)
    moved = float((versions.tensors()["weight"] - before).norm())
    assert 0 < moved <= 0.15 / 2 * (1 + 1.1) * float(before.norm()), "the first does nothing, two 7.5% each"


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
