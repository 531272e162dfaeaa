"""When measuring stops, with a clock that the test turns and layers whose times it knows."""

from collections.abc import Callable
from itertools import count

import pytest

from profiler.profile import MOST_ROUNDS
from profiler.rounds import LOSS, Samples
from profiler.rounds.time_budget import BUDGET_S, ENOUGH_ROUNDS, LEAST_ROUNDS, spend


class FakeStepper:
    """Every round takes one second; the layers' times come from ``times``."""

    def __init__(self, times: Callable[[int], list[float]]) -> None:
        self.samples, self.times, self.now = Samples(), times, 0.0

    def round(self) -> None:
        number = len(self.samples.whole_step)
        for position, time_s in enumerate(self.times(number)):
            for store in (self.samples.forward, self.samples.backward, self.samples.update):
                store.setdefault(position, []).append(time_s)
        for store in (self.samples.forward, self.samples.backward):
            store.setdefault(LOSS, []).append(0.0)
        self.samples.whole_step.append(1.0)
        self.now += 1.0


def run(times: Callable[[int], list[float]], budget_s: float | None) -> tuple[FakeStepper, list[float]]:
    stepper = FakeStepper(times)
    shares: list[float] = []
    spend(stepper.round, stepper.samples, budget_s, lambda: stepper.now, shares.append, stages=2)
    return stepper, shares


def known(_number: int) -> list[float]:
    """Layers that always take the same."""
    return [1.0, 2.0]


def undecided(number: int) -> list[float]:
    """Of three layers the first and the last take turns in being the longest."""
    return [1.0 + number % 7, 1.0, 1.0 + (number + 3) % 7]


@pytest.mark.parametrize(
    ("times", "budget_s", "rounds"),
    [
        (lambda number: [1.0 + number, 2.0 + 2 * number], None, LEAST_ROUNDS),  # the machine slows down as a whole
        (lambda number: [1.0 + number % 7, 1.0], None, LEAST_ROUNDS),  # of two layers there is one plan, however noisy
        (undecided, None, BUDGET_S),
        (known, 20.0, 20),
        (undecided, 20.0, 20),
        (undecided, 0.1, LEAST_ROUNDS),
        (known, 1e6, MOST_ROUNDS),
    ],
)
def test_rounds_are_as_many_as_the_budget_says_or_the_plan_takes_to_be_known(
    times: Callable[[int], list[float]], budget_s: float | None, rounds: float
) -> None:
    stepper, _ = run(times, budget_s)
    assert len(stepper.samples.whole_step) == stepper.now == rounds


def test_a_slow_step_gets_enough_rounds_all_the_same() -> None:
    stepper = FakeStepper(undecided)
    ticks = count(step=100)
    spend(stepper.round, stepper.samples, None, lambda: float(next(ticks)), lambda _share: None, stages=2)
    assert len(stepper.samples.whole_step) == ENOUGH_ROUNDS


@pytest.mark.parametrize("budget_s", [None, 7.5])
def test_progress_adds_up_to_the_whole(budget_s: float | None) -> None:
    _, shares = run(undecided, budget_s)
    assert sum(shares) == pytest.approx(1.0)
    assert min(shares) >= 0.0
