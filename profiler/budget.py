"""Decide when enough rounds have been run: when the layers that matter are known well enough, or the time is up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from profiler.doubts import MOST_ROUNDS
from profiler.rounds import Clock, Samples
from profiler.statistics import half_width

LEAST_ROUNDS, ENOUGH_ROUNDS = 5, 15
LARGEST_LAYERS = 10
PRECISION = 0.02
"""Half-width of the interval, as a share of the median, at which a layer counts as known."""
REFINED_PRECISION, REFINED_ROUNDS = 0.005, 10_000
"""The same, and the most rounds, for layers that were asked for by name."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to measure, in seconds, and which layers are to be known well: named ones, or else the costliest."""

    seconds: float = 30.0
    layers: tuple[str, ...] = ()


class Rounds(Protocol):
    """What takes rounds and keeps their samples: a stepper, or one in turn with its neighbours."""

    @property
    def samples(self) -> Samples:
        """Return what decides how many rounds are needed."""

    def round(self) -> None:
        """Take one round."""


def spend(
    rounds: Rounds, budget: Budget, clock: Clock, advance: Callable[[float], None], positions: Sequence[int] = ()
) -> None:
    """Run rounds until the costliest layers are known to ``PRECISION`` or the budget is spent.

    Where ``positions`` name layers, these are to be known to ``REFINED_PRECISION`` instead.

    At least ``LEAST_ROUNDS`` rounds are run, whatever the budget, for fewer have no interval; ``ENOUGH_ROUNDS`` before
    an interval is believed, for one of a few samples is too narrow; and at most ``MOST_ROUNDS``, for more only average
    over the machine's drift.

    Args:
        rounds: What runs them; warmed up.
        budget: How long it may take.
        clock: Seconds.
        advance: Called with the share of the work that was done since the last call; the shares add up to 1.
        positions: Of the budget's layers, in captured order.
    """
    wanted, most = (REFINED_PRECISION, REFINED_ROUNDS) if positions else (PRECISION, MOST_ROUNDS)
    start, told, check = clock(), 0.0, ENOUGH_ROUNDS
    for count in range(1, most + 1):
        rounds.round()
        spent = (clock() - start) / budget.seconds
        if count >= LEAST_ROUNDS and spent >= 1:
            break
        if count == check:
            if precision(rounds.samples, positions) <= wanted:
                break
            check = -(-count * 4 // 3)  # the interval narrows slowly, and working it out takes time
        done = max(min(spent, count / LEAST_ROUNDS), count / most)
        advance(max(0.0, done - told))
        told = max(told, done)
    advance(1.0 - told)


def precision(samples: Samples, positions: Sequence[int] = ()) -> float:
    """Return the largest half-width among the layers at ``positions``, or else the costliest.

    Each is taken as forward + backward + update.
    """
    layers = {
        at: [sum(times) for times in zip(samples.forward[at], samples.backward[at], samples.update[at], strict=True)]
        for at in samples.update
    }
    costliest = sorted(layers, key=lambda at: sum(layers[at]))[-LARGEST_LAYERS:]
    return max(half_width(layers[at]) for at in positions or costliest)
