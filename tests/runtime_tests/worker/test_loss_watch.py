"""Losses that leave, and losses that only look as if they did."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from runtime.worker import LossWatch


def left(losses: list[float]) -> int | None:
    """At which minibatch a loss is said to leave."""
    watch = LossWatch()
    for number, loss in enumerate(losses):
        watch.take(number, loss)
    return watch.left.minibatch if watch.left else None


def falling(count: int, noise: float, seed: int) -> list[float]:
    drawn = torch.Generator().manual_seed(seed)
    noises = torch.randn(count, generator=drawn)
    return [2.3 * math.exp(-number / 150) * math.exp(noise * float(noises[number])) for number in range(count)]


@pytest.mark.parametrize("noise", [0.02, 0.2, 0.5])
@pytest.mark.parametrize("seed", range(20))
def test_a_loss_that_falls_noisily_does_not_leave(seed: int, noise: float) -> None:
    assert left(falling(600, noise, seed)) is None


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_that_blows_up_is_seen_before_it_is_no_number(seed: int) -> None:
    losses = falling(200, 0.2, seed)
    losses += [losses[-1] * 1.5**number for number in range(1, 100)]
    found = left(losses)
    assert found is not None
    assert 200 <= found < 215
    assert losses[found] < 100


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("seed", range(5))
def test_a_loss_with_a_few_hard_samples_does_not_leave(seed: int, share: float) -> None:
    """As with minibatches of one sample, of a model that has nearly all of them right."""
    drawn = torch.Generator().manual_seed(seed)
    hard, sizes = torch.rand(3000, generator=drawn) < share, torch.rand(3000, generator=drawn)
    assert left(torch.where(hard, 2.5 + sizes, sizes / 200).tolist()) is None


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_with_a_long_tail_does_not_leave(seed: int) -> None:
    assert left(torch.randn(3000, generator=torch.Generator().manual_seed(seed)).exp().tolist()) is None


def test_a_loss_that_was_all_but_nothing_may_rise_a_little() -> None:
    losses = [*falling(300, 0.1, 3), *[0.01] * 200]
    assert left([*losses, *[0.2] * 30]) is None
    assert left([*losses, *[1.0] * 30]) is not None
    assert left([*losses, *[0.2] * 300, *[0.4] * 30]) is None, "that little is what it was by then"


@given(st.floats(-100, 100))
def test_where_the_zero_of_a_loss_lies_is_nothing_to_it(shift: float) -> None:
    """As of a likelihood, whose loss may be negative from the start; a hundredth of it is noise here."""
    drawn = torch.Generator().manual_seed(4)
    fallen = [200 * math.exp(-number / 50) + 10 * float(torch.randn((), generator=drawn)) for number in range(300)]
    assert left([shift + loss for loss in [*fallen, *[5.0] * 30]]) is None
    found = left([shift + loss for loss in [*fallen, *[120.0] * 30]])
    assert found is not None
    assert 300 <= found < 320


def test_a_loss_that_returns_to_where_it_began_has_left() -> None:
    found = left([*falling(300, 0.1, 0), *[2.3] * 20])
    assert found is not None
    assert found < 310


def test_one_outlier_is_none() -> None:
    losses = falling(300, 0.1, 1)
    losses[200] = 1e6
    assert left(losses) is None
    losses[250] = math.nan
    assert left(losses) is None


@given(st.floats(0.001, 1000))
def test_the_scale_of_a_loss_is_nothing_to_it(scale: float) -> None:
    losses = [*falling(100, 0.1, 2), *[4.0] * 10]
    assert left([scale * loss for loss in losses]) == left(losses)


def test_what_is_said_names_figures_and_the_remedy() -> None:
    watch = LossWatch()
    for number, loss in enumerate([*[1.0] * 50, *[3.0] * 10]):
        watch.take(number, loss)
    assert watch.left
    assert "the loss rises out of its spread: 1.0" in watch.left.words
    assert "at minibatch 5" in watch.left.words
    assert "lower lr" in watch.left.words
