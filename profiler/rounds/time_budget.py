"""Decide when enough rounds have been run: when other rounds would give no better plan, or the time is up."""

from collections.abc import Callable

from profiler.profile import MOST_ROUNDS
from profiler.rounds.doubt import USUAL, doubt_of
from profiler.rounds.samples import Clock, Samples
from profiler.rounds.shares import layer_times

LEAST_ROUNDS, ENOUGH_ROUNDS = 5, 15
KNOWN = 0.01
"""By how much the plan of other rounds may be better, where one counts as known."""
BUDGET_S = 30.0
"""How long rounds are run at most where nothing else is said, unless a few take longer."""


def spend(
    take_round: Callable[[], None],
    samples: Samples,
    budget_s: float | None,
    clock: Clock,
    advance: Callable[[float], None],
    *,
    stages: int,
) -> None:
    """Run rounds until other rounds would give no plan that is better by more than ``KNOWN``, or for a given time.

    At least ``LEAST_ROUNDS`` are run, for fewer have no interval. Where the plan does not get known, they are run for
    the usual time, and ``ENOUGH_ROUNDS`` however long a step takes. More than ``MOST_ROUNDS`` only average over what
    the machine does.

    Args:
        take_round: Runs one; warmed up.
        samples: What it adds to.
        budget_s: How long to run rounds, be the plan known or not; None: until it is, or the usual time is up.
        clock: Seconds.
        advance: Called with the share of the work that was done since the last call; the shares add up to 1.
        stages: How many stages are planned for.
    """
    start, told, check = clock(), 0.0, LEAST_ROUNDS
    least = LEAST_ROUNDS if budget_s else ENOUGH_ROUNDS
    for count in range(1, MOST_ROUNDS + 1):
        take_round()
        spent = (clock() - start) / (budget_s or BUDGET_S)
        if count >= least and spent >= 1:
            break
        if budget_s is None and count == check:
            if doubt_of(layer_times(samples), stages, *USUAL).regret <= KNOWN:
                break
            check = next_check(count)
        done = max(min(spent, count / least), count / MOST_ROUNDS)
        advance(max(0.0, done - told))
        told = max(told, done)
    advance(1.0 - told)


def next_check(count: int) -> int:
    """Return after how many rounds to ask again: doubt falls slowly, and working it out takes time."""
    return -(-count * 4 // 3)
