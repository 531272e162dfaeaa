"""What a pipeline gives whose stages are unsteady: a prediction as an expectation with an interval.

Even stages wait for whichever happens to be slow: the period of a pipeline is the mean of a maximum, and that is more
than the maximum of means. So the profile's rounds are simulated as they were: with R of them, minibatch b of stage s
takes as much longer or shorter as that stage did in round

    (t + b + ⌊s·R ÷ S⌋) mod R                       at turn t = 0, 1, … R − 1

each stage beginning elsewhere, for what comes between on one core does not on another.

A profile is taken beside N cores that are always busy; a stage's neighbours are busy for a share of the time. With a_s
what stage s takes beside none, of what it takes as profiled (``Stage.alone``), T_t what a minibatch costs stage t,

    ease_s = a_s + (1 − a_s) · min(1, Σ over t ≠ s of T_t ÷ max T ÷ N)

What is expected is the mean over all turns at that ease; the interval lies between the two regimes that were measured:
from the 5% quantile of turns where neighbours are always busy to the 95% quantile of turns where there are none. Either
is widened by 1.64 standard errors of the mean factor of the slowest stage: what is not known for lack of rounds.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from optimizer.plan.plan import Expected, Stage
from optimizer.schedule import Durations, Pace, Schedule, simulate, throughput

Factors = Sequence[Sequence[float]]
FEWEST, MOST_SIMULATED = 10, 5_000
"""Turns at least, and minibatches of all ranks in all turns at most."""
MOST = 48
TAILS, Z = (0.05, 0.95), 1.64


def eased(stages: Sequence[Stage], neighbours: int) -> list[Stage]:
    """Return stages with their ease, having been profiled beside so many busy cores."""
    totals_s = [stage.total_s for stage in stages]
    if not neighbours or not max(totals_s):
        return [replace(stage, ease=1.0) for stage in stages]
    busy = [min(1.0, (sum(totals_s) - own_s) / max(totals_s) / neighbours) for own_s in totals_s]
    return [
        replace(stage, ease=stage.alone + (1 - stage.alone) * share) for stage, share in zip(stages, busy, strict=True)
    ]


def expected_throughput(
    stages: Sequence[Stage],
    schedule: Schedule,
    durations_s: Durations,
    steady_samples_per_s: float,
) -> Expected | None:
    """Return the throughput of unsteady stages, given that of steady ones; None where nothing says how unsteady.

    Args:
        stages: With their noise and ease.
        schedule: What runs.
        durations_s: What each action takes as profiled.
        steady_samples_per_s: What stages give that are always as they are at their ease.
    """
    rounds = {len(stage.noise) for stage in stages}
    if rounds == {0} or len(rounds) > 1:
        return None
    short = replace(schedule, minibatches=min(schedule.minibatches, most_simulated(schedule.pace, len(stages))))

    def rate(duration_s: Durations) -> float:
        return throughput(short, simulate(short.pace, len(stages), short.minibatches, duration_s), 1)

    ease, alone = [stage.ease for stage in stages], [stage.alone for stage in stages]
    usual = rate(_times(durations_s, ease))
    factors = _factors(stages, short.minibatches, rounds.pop())
    turns = [
        np.array([rate(_times(durations_s, shares, turn)) for turn in factors])
        for shares in ([1.0] * len(stages), ease, alone)
    ]
    if not usual:
        return None
    beside, expected, beside_none = (own * steady_samples_per_s / usual for own in turns)
    mean = float(np.mean(expected))
    unknown = Z * _standard_error(max(stages, key=lambda stage: stage.total_s * stage.ease).noise)
    low, high = float(np.quantile(beside, TAILS[0])), float(np.quantile(beside_none, TAILS[1]))
    return Expected(samples_per_s=mean, low=min(low, mean) / (1 + unknown), high=max(high, mean) * (1 + unknown))


def _times(durations_s: Durations, shares: Sequence[float], factors: Factors | None = None) -> Durations:
    """Return durations times a share for each stage, and a factor for each minibatch of each."""
    if factors is None:
        return lambda stage, kind, minibatch: durations_s(stage, kind, minibatch) * shares[stage]
    return lambda stage, kind, minibatch: (
        durations_s(stage, kind, minibatch) * shares[stage] * factors[stage][minibatch]
    )


def _standard_error(factors: Sequence[float]) -> float:
    """Return the standard error of a mean; nothing of one factor."""
    return float(np.std(factors, ddof=1)) / len(factors) ** 0.5 if len(factors) > 1 else 0.0


def most_simulated(pace: Pace, stages: int) -> int:
    """Return how many minibatches are simulated at most: whole rounds of updates, three times what is in flight."""
    whole = pace.update_every
    enough = max(MOST, 3 * whole, 3 * stages)
    return -(-enough // whole) * whole


def _factors(stages: Sequence[Stage], minibatches: int, rounds: int) -> list[Factors]:
    """Return by what factor each minibatch takes longer, turn by turn, ``[stage][minibatch]``; of many turns, some."""
    size = len(stages)
    count = min(rounds, max(FEWEST, MOST_SIMULATED // (size * minibatches)))
    noise = [np.array(stage.noise) for stage in stages]
    along = np.arange(minibatches)
    return [
        [own[(turn * rounds // count + along + at * rounds // size) % rounds].tolist() for at, own in enumerate(noise)]
        for turn in range(count)
    ]
