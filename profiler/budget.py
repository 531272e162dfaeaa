"""Decide when enough rounds have been run: when the costliest layers are known well enough, or the time is up."""

from collections.abc import Callable
from dataclasses import dataclass

from profiler.rounds import Clock, Samples, Stepper
from profiler.statistics import half_width

LEAST_ROUNDS, MOST_ROUNDS = 5, 100
LARGEST_LAYERS = 10
PRECISION = 0.02
"""Half-width of the interval, as a share of the median, at which a layer counts as known."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to measure, in seconds."""

    seconds: float = 30.0


def spend(stepper: Stepper, budget: Budget, clock: Clock, advance: Callable[[float], None]) -> None:
    """Run rounds until the costliest layers are known to ``PRECISION`` or the budget is spent.

    At least ``LEAST_ROUNDS`` rounds are run, whatever the budget, for fewer have no interval; and at most
    ``MOST_ROUNDS``, for more only average over the machine's drift.

    Args:
        stepper: What runs them.
        budget: How long it may take.
        clock: Seconds.
        advance: Called with the share of the work that was done since the last call; the shares add up to 1.
    """
    start, told, check = clock(), 0.0, LEAST_ROUNDS
    stepper.warm_up()
    for rounds in range(1, MOST_ROUNDS + 1):
        stepper.round()
        spent = (clock() - start) / budget.seconds
        if rounds >= LEAST_ROUNDS and spent >= 1:
            break
        if rounds == check:
            if precision(stepper.samples) <= PRECISION:
                break
            check = -(-rounds * 4 // 3)  # the interval narrows slowly, and working it out takes time
        done = max(min(spent, rounds / LEAST_ROUNDS), rounds / MOST_ROUNDS)
        advance(max(0.0, done - told))
        told = max(told, done)
    advance(1.0 - told)


def precision(samples: Samples) -> float:
    """Return the largest half-width among the costliest layers, each taken as forward + backward + update."""
    layers = [
        [sum(times) for times in zip(samples.forward[at], samples.backward[at], samples.update[at], strict=True)]
        for at in samples.update
    ]
    largest = sorted(layers, key=sum)[-LARGEST_LAYERS:]
    return max(half_width(times) for times in largest)
