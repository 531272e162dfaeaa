"""What a pipeline gives whose stages are unsteady: a prediction as an expectation with an interval.

Even stages wait for whichever happens to be slow: the period of a pipeline is the mean of a maximum, and that is more
than the maximum of means. So a prediction draws: each minibatch takes each stage as much longer or shorter as it did in
some round of the profile (``Stage.noise``). In each of ``DRAWS`` draws

    the profile's rounds are resampled, the same rounds for all stages: what is not known for lack of rounds
    every rank draws by how much its ease is off: what is not known of its neighbours (``Stage.doubt``)
    every minibatch of every rank draws one of these: what comes and goes while the pipeline runs

and the schedule is simulated. Of the throughputs that this gives, relative to that of steady stages, the mean is what
is to be expected, and between the quantiles lie 90% of runs. A long run is taken to be as unsteady as its first
``MOST`` minibatches.

Source: Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapters 6 and 13.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from optimizer.plan.plan import Expected, Stage
from optimizer.schedule import Message, Pace, Schedule, Span, in_full, simulate, steady_minibatches

DRAWS, FEWEST = 100, 10
MOST_DRAWN = 500_000
"""Minibatches of all ranks in all draws at most, but for the fewest draws."""
MOST = 48
TAILS = 0.05, 0.95


def relative_throughput(
    stages: Sequence[Stage],
    schedule: Schedule,
    durations_s: Sequence[Sequence[float]],
    ways: tuple[Sequence[Message], Sequence[Message]],
) -> Expected | None:
    """Return the throughput of unsteady stages over that of steady ones; None where nothing says how unsteady they are.

    Args:
        stages: With their noise.
        schedule: What runs.
        durations_s: What each kind of action takes in each stage: forward, backward, update.
        ways: What messages take, down and up.
    """
    rounds = {len(stage.noise) for stage in stages}
    if rounds == {0} or len(rounds) > 1:
        return None
    most = most_drawn(schedule.pace, len(stages))
    short = in_full(schedule.pace, len(stages), min(schedule.minibatches, most))
    factors = _factors(stages, short, rounds.pop())
    kinds = {kind: at for at, kind in enumerate("FBU")}
    steady = [[durations_s[action.stage][kinds[action.kind]] for action in row] for row in short.rows]
    drawn = [
        [time_s * own[:, action.minibatch] for time_s, action in zip(row, actions, strict=True)]
        for row, actions, own in zip(steady, short.rows, factors, strict=True)
    ]
    down, up = ways
    usual_s = _period(short, simulate(short, steady, down, up))
    drawn_s = _period(short, simulate(short, drawn, down, up, latest=_latest))
    if not usual_s or not drawn_s.all():
        return None
    speeds = usual_s / drawn_s
    low, high = np.quantile(speeds, TAILS)
    return Expected(samples_per_s=float(np.mean(speeds)), low=float(low), high=float(high))


def scaled(expected: Expected | None, throughput_samples_per_s: float) -> Expected | None:
    """Return an expectation that was relative to a throughput."""
    if expected is None:
        return None
    values = {name: getattr(expected, name) * throughput_samples_per_s for name in ("samples_per_s", "low", "high")}
    return replace(expected, **values)


def _latest(times_s: Sequence[Any]) -> Any:
    """Return the latest of some times in each draw; some are the same in all."""
    return reduce(np.maximum, times_s)


def most_drawn(pace: Pace, stages: int) -> int:
    """Return how many minibatches are simulated at most: whole rounds of updates, three times what is in flight."""
    whole = pace.update_every
    enough = max(MOST, 3 * whole, 3 * stages)
    return -(-enough // whole) * whole


def _factors(stages: Sequence[Stage], schedule: Schedule, rounds: int) -> list[np.ndarray]:
    """Return by what factor each minibatch takes longer in each stage, ``[draw, minibatch]``.

    The numbers are the same for all splits, which makes them comparable.
    """
    drawing = random.Random(0)  # noqa: S311 - no secret; its numbers are the same in every version of Python
    size = len(stages)
    draws = min(DRAWS, max(FEWEST, MOST_DRAWN // (size * schedule.minibatches)))
    chosen = np.empty((draws, size, schedule.minibatches), dtype=np.int64)
    for draw in range(draws):
        resampled = [int(drawing.random() * rounds) for _ in range(rounds)]
        for stage in range(size):
            chosen[draw, stage] = [resampled[int(drawing.random() * rounds)] for _ in range(schedule.minibatches)]
    doubting = random.Random(1)  # noqa: S311 - likewise
    off = np.array([[2 * doubting.random() - 1 for _ in range(size)] for _ in range(draws)])
    return [
        np.array(stage.noise)[chosen[:, at]] * np.maximum(0.0, 1 + off[:, at, None] * stage.doubt / stage.ease)
        for at, stage in enumerate(stages)
    ]


def _period(schedule: Schedule, spans: Sequence[Sequence[Span]]) -> np.ndarray:
    """Return what the minibatches take that throughput counts, in each draw."""
    ends_s = np.array([span.end_s for span in spans[-1] if span.action.kind == "B"])
    begun, until = steady_minibatches(schedule, len(ends_s))
    if begun:
        return np.asarray(ends_s[until - 1] - ends_s[begun - 1])
    return np.asarray(np.max([np.max(np.array([span.end_s for span in row]), axis=0) for row in spans], axis=0))
