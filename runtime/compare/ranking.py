"""Tell apart what ran faster from what only seems so: ratios of paired rounds, and ranks with ties.

The ratio of two contenders is taken round by round, since the runs of one round share the machine's mood; its interval
is the 95% percentile bootstrap of the median. Two contenders are tied where that interval holds 1. Ranks are given from
the fastest on: whoever is tied with the first of a rank shares it.

An interval of the median of n runs cannot go beyond the smallest and largest of them, which hold the true median with
probability 1 − 2^(1 − n) (``coverage``): six runs are the fewest that 95% can be claimed for.
"""

from collections.abc import Mapping, Sequence

from profiler.measure import interval
from runtime.compare.comparison import Spread
from runtime.compare.records import RunRecord

FEWEST = 3
"""Pairs that a rank correlation takes."""
Rounds = Mapping[int, float]
"""Throughput by round."""


def rounds_of(runs: Sequence[RunRecord], name: str) -> Rounds:
    """Return the throughput of each interleaved round in which ``name`` ran."""
    return {
        run.round: run.throughput_samples_per_s
        for run in runs
        if run.name == name and run.failure is None and run.series == "main"
    }


def spread_of(values: Sequence[float]) -> Spread | None:
    """Return the median of the values with its interval; None where there are none."""
    if not values:
        return None
    middle, low, high = interval(values)
    return Spread(median=middle, low=low, high=high, runs=tuple(values))


def ratio_of(ours: Rounds, theirs: Rounds) -> Spread | None:
    """Return how many times as fast ``ours`` was, over the rounds that have both; None where none has."""
    return spread_of([ours[key] / theirs[key] for key in ours if theirs.get(key)])


def coverage(runs: int) -> float:
    """Return the probability with which the smallest and the largest of so many runs hold the median between them."""
    return 1 - 2.0 ** (1 - runs) if runs else 0.0


def tied(ratio: Spread | None) -> bool:
    """Say whether noise cannot tell two contenders apart; of a single round, nothing can be said."""
    return ratio is not None and len(ratio.runs) > 1 and ratio.low <= 1 <= ratio.high


def ranks_with_ties(rounds_by_name: Mapping[str, Rounds]) -> dict[str, int]:
    """Return the rank of each contender that ran, 1 for the fastest."""
    medians = {
        name: spread.median for name, rounds in rounds_by_name.items() if (spread := spread_of(list(rounds.values())))
    }
    ordered = sorted(medians, key=lambda name: (-medians[name], name))
    rank_of: dict[str, int] = {}
    leader = ""
    for place, name in enumerate(ordered, 1):
        if leader and tied(ratio_of(rounds_by_name[leader], rounds_by_name[name])):
            rank_of[name] = rank_of[leader]
        else:
            rank_of[name], leader = place, name
    return rank_of


def spearman(first: Sequence[float], other: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation; None for fewer than ``FEWEST`` pairs, or where either side is one value."""
    from scipy import stats

    if len(first) < FEWEST or len(set(first)) == 1 or len(set(other)) == 1:
        return None
    return float(stats.spearmanr(first, other).statistic)
