"""When measuring stops, with a clock that the test turns and layers whose times it knows."""

from collections.abc import Callable
from itertools import count

import pytest

from profiler.profile import MOST_ROUNDS
from profiler.rounds import Samples
from profiler.rounds.time_budget import ENOUGH_ROUNDS, LEAST_ROUNDS, spend, uncertainty


class FakeStepper:
    """Every round takes one second; the layers' times come from ``times``."""

    def __init__(self, times: Callable[[int], list[float]]) -> None:
        self.samples, self.times, self.now = Samples(), times, 0.0

    def round(self) -> None:
        number = len(self.samples.whole_step)
        for position, time_s in enumerate(self.times(number)):
            for store in (self.samples.forward, self.samples.backward, self.samples.update):
                store.setdefault(position, []).append(time_s)
        self.samples.whole_step.append(1.0)
        self.now += 1.0


def run(times: Callable[[int], list[float]], budget_s: float | None) -> tuple[FakeStepper, list[float]]:
    stepper = FakeStepper(times)
    shares: list[float] = []
    spend(stepper.round, stepper.samples, budget_s, lambda: stepper.now, shares.append, stages=2)
    return stepper, shares


def noisy(number: int) -> list[float]:
    """The first of two layers takes as much as the other, or up to seven times as much."""
    return [1.0 + number % 7, 1.0]


def test_a_machine_that_slows_down_as_a_whole_needs_no_more_rounds() -> None:
    stepper, _ = run(lambda number: [1.0 + number, 2.0 + 2 * number], 1000.0)
    assert len(stepper.samples.whole_step) == ENOUGH_ROUNDS
    assert uncertainty(stepper.samples) == pytest.approx(0.0)


def test_without_a_budget_a_slow_step_gets_enough_rounds_all_the_same() -> None:
    stepper = FakeStepper(noisy)
    ticks = count(step=100)
    spend(stepper.round, stepper.samples, None, lambda: float(next(ticks)), lambda _share: None, stages=2)
    assert len(stepper.samples.whole_step) == ENOUGH_ROUNDS


def test_noisy_layers_take_the_whole_budget() -> None:
    stepper, _ = run(noisy, 20.0)
    assert stepper.now == 20.0
    assert len(stepper.samples.whole_step) == 20


def test_a_small_budget_still_gets_the_least_rounds() -> None:
    assert len(run(noisy, 0.1)[0].samples.whole_step) == LEAST_ROUNDS


def test_no_budget_buys_more_than_the_most_rounds() -> None:
    assert len(run(noisy, 1e6)[0].samples.whole_step) == MOST_ROUNDS


def test_only_the_costliest_layers_have_to_be_known() -> None:
    """Eleven layers, of which the cheapest is the only noisy one, and moves the shares of the others a little."""
    drawn = count()

    def times(_number: int) -> list[float]:
        return [5.0] * 10 + [0.1 * (1 + next(drawn) % 3)]

    stepper, _ = run(times, 1000.0)
    assert len(stepper.samples.whole_step) == ENOUGH_ROUNDS
    assert 0.0 < uncertainty(stepper.samples) < 0.0025
