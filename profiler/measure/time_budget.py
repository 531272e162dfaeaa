"""Decide when enough rounds have been run: when the layers that matter are known well enough, or the time is up."""

from collections.abc import Callable

from profiler.measure.statistics import half_width
from profiler.measure.stepper import Clock, Samples
from profiler.profile import MOST_ROUNDS

LEAST_ROUNDS, ENOUGH_ROUNDS = 5, 15
LARGEST_LAYERS = 10
KNOWN = 0.02
"""Half-width of the interval, as a share of the median, at which a layer counts as known."""


def spend(
    take_round: Callable[[], None],
    samples: Samples,
    budget_s: float,
    clock: Clock,
    advance: Callable[[float], None],
    *,
    least: int = LEAST_ROUNDS,
) -> None:
    """Run rounds until the costliest layers are known to ``KNOWN`` or the budget is spent.

    At least ``least`` rounds are run, whatever the budget, for fewer have no interval; ``ENOUGH_ROUNDS`` before
    an interval is believed, for one of a few samples is too narrow; and at most ``MOST_ROUNDS``, for more only average
    over the machine's drift.

    Args:
        take_round: Runs one; warmed up.
        samples: What it adds to.
        budget_s: How long it may take.
        clock: Seconds.
        advance: Called with the share of the work that was done since the last call; the shares add up to 1.
        least: How many rounds are run at least.
    """
    start, told, check = clock(), 0.0, ENOUGH_ROUNDS
    for count in range(1, MOST_ROUNDS + 1):
        take_round()
        spent = (clock() - start) / budget_s
        if count >= least and spent >= 1:
            break
        if count == check:
            if uncertainty(samples) <= KNOWN:
                break
            check = -(-count * 4 // 3)  # the interval narrows slowly, and working it out takes time
        done = max(min(spent, count / least), count / MOST_ROUNDS)
        advance(max(0.0, done - told))
        told = max(told, done)
    advance(1.0 - told)


def uncertainty(samples: Samples) -> float:
    """Return the largest half-width among the costliest layers, each taken as forward + backward + update."""
    layers = {
        at: [sum(times) for times in zip(samples.forward[at], samples.backward[at], samples.update[at], strict=True)]
        for at in samples.update
    }
    costliest = sorted(layers, key=lambda at: sum(layers[at]))[-LARGEST_LAYERS:]
    return max(half_width(layers[at]) for at in costliest)
