"""Decide when enough rounds have been run: when a plan from them stands, or the time is up."""

from collections.abc import Callable

import numpy as np

from profiler.profile import MOST_ROUNDS, UNCERTAINTY_LIMIT
from profiler.rounds.plan_doubt import plan_doubt
from profiler.rounds.samples import Clock, Samples
from profiler.rounds.shares import WITHIN, layer_times, shares_drawn, shares_of

LEAST_ROUNDS, ENOUGH_ROUNDS = 5, 15
LARGEST_LAYERS = 10
KNOWN = 0.01
"""By how much a plan's promise may move when the rounds are drawn again, where it counts as standing."""
BUDGET_S = 30.0
"""How long rounds are run where nothing else is said."""


def spend(
    take_round: Callable[[], None],
    samples: Samples,
    budget_s: float | None,
    clock: Clock,
    advance: Callable[[float], None],
    *,
    stages: int,
) -> None:
    """Run rounds until a plan from them stands to within ``KNOWN``, or the budget is spent.

    Whoever gives a budget wants to know the layers, too, to within ``UNCERTAINTY_LIMIT``.

    At least ``LEAST_ROUNDS`` are run, whatever the budget, for fewer have no interval, and ``ENOUGH_ROUNDS`` where no
    budget is given, however long a step takes. Before so many no plan is taken to stand, for of a few samples draws
    differ too little; more than ``MOST_ROUNDS`` only average over what the machine does.

    Args:
        take_round: Runs one; warmed up.
        samples: What it adds to.
        budget_s: How long it may take; None: the usual time, and as long as enough rounds take.
        clock: Seconds.
        advance: Called with the share of the work that was done since the last call; the shares add up to 1.
        stages: How many stages are planned for.
    """
    start, told, check = clock(), 0.0, ENOUGH_ROUNDS
    least = LEAST_ROUNDS if budget_s else ENOUGH_ROUNDS
    for count in range(1, MOST_ROUNDS + 1):
        take_round()
        spent = (clock() - start) / (budget_s or BUDGET_S)
        if count >= least and spent >= 1:
            break
        if count == check:
            stands = plan_doubt(layer_times(samples), stages) <= KNOWN
            if stands and (budget_s is None or uncertainty(samples) <= UNCERTAINTY_LIMIT):
                break
            check = -(-count * 4 // 3)  # doubt falls slowly, and working it out takes time
        done = max(min(spent, count / least), count / MOST_ROUNDS)
        advance(max(0.0, done - told))
        told = max(told, done)
    advance(1.0 - told)


def uncertainty(samples: Samples) -> float:
    """Return the largest half-width of an interval among the costliest layers, of their shares of a step."""
    steady_s = layer_times(samples)
    shares = shares_of(steady_s)
    low, high = np.quantile(shares_drawn(steady_s), WITHIN, axis=0)
    costliest = np.argsort(shares)[-LARGEST_LAYERS:]
    return float(np.max((high - low)[costliest] / 2 / shares[costliest]))
