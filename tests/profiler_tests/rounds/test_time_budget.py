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


def test_a_machine_that_slows_down_as_a_whole_needs_no_more_than_the_least_rounds() -> None:
    stepper, _ = run(lambda number: [1.0 + number, 2.0 + 2 * number], None)
    assert len(stepper.samples.whole_step) == LEAST_ROUNDS


def test_layers_that_no_plan_depends_on_may_be_as_noisy_as_they_like() -> None:
    """In two stages there is one cut between two layers."""
    stepper, _ = run(lambda number: [1.0 + number % 7, 1.0], None)
    assert len(stepper.samples.whole_step) == LEAST_ROUNDS


def test_where_the_plan_does_not_get_known_rounds_take_the_usual_time() -> None:
    stepper, _ = run(undecided, None)
    assert stepper.now == BUDGET_S


def test_and_a_slow_step_gets_enough_rounds_all_the_same() -> None:
    stepper = FakeStepper(undecided)
    ticks = count(step=100)
    spend(stepper.round, stepper.samples, None, lambda: float(next(ticks)), lambda _share: None, stages=2)
    assert len(stepper.samples.whole_step) == ENOUGH_ROUNDS


@pytest.mark.parametrize("times", [known, undecided])
def test_a_budget_is_spent_be_the_plan_known_or_not(times: Callable[[int], list[float]]) -> None:
    stepper, _ = run(times, 20.0)
    assert len(stepper.samples.whole_step) == stepper.now == 20


def test_a_small_budget_still_gets_the_least_rounds() -> None:
    assert len(run(undecided, 0.1)[0].samples.whole_step) == LEAST_ROUNDS


def test_no_budget_buys_more_than_the_most_rounds() -> None:
    assert len(run(known, 1e6)[0].samples.whole_step) == MOST_ROUNDS


@pytest.mark.parametrize("budget_s", [None, 7.5])
def test_progress_adds_up_to_the_whole(budget_s: float | None) -> None:
    _, shares = run(undecided, budget_s)
    assert sum(shares) == pytest.approx(1.0)
    assert min(shares) >= 0.0
