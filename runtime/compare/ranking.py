"""Rank splits: one computation gives their ratios, their order and their ranks, so that no two of these disagree.

All of it is about pairs of runs of one round, which share the machine's mood, and about one split, the reference:

    ratio   how many times as fast the reference ran: the median over the rounds that both came through, with its 95%
            percentile-bootstrap interval
    order   by ratio, the fastest first; splits without a ratio stand last, by their median throughput
    rank    the place in that order of the first split that noise cannot tell from this one

A ratio of at least two rounds tells a split from the reference unless its interval holds 1. Splits that it does not
tell apart share the reference's rank, and the others do not. Those on one side of the reference share the rank of the
first of them until one is slower beyond noise than that, in the rounds of these two. There is no rank for a split with
fewer than two rounds beside the reference, nor for one that cannot be told from it and yet stands beyond another that
can: its own noise leaves its place open.

An interval of the median of n runs cannot go beyond the smallest and largest of them, which hold the true median with
probability 1 − 2^(1 − n) (``coverage``): six runs are the fewest that 95% can be claimed for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import median

from runtime.compare.contender import Rounds, Spread, spread_of

FEWEST = 3
"""Pairs that a rank correlation takes."""


def ratio_of(ours: Rounds, theirs: Rounds) -> Spread | None:
    """Return how many times as fast ``ours`` was, over the rounds that have both; None where none has."""
    return spread_of([ours[key] / theirs[key] for key in ours if theirs.get(key)])


def coverage(runs: int) -> float:
    """Return the probability with which the smallest and the largest of so many runs hold the median between them."""
    return 1 - 2.0 ** (1 - runs) if runs else 0.0


def tied(ratio: Spread | None) -> bool:
    """Say whether noise cannot tell two contenders apart; of a single round, nothing can be said."""
    return ratio is not None and len(ratio.runs) > 1 and _side(ratio) == 0


@dataclass(frozen=True, slots=True)
class Ranking:
    """How splits stand to each other.

    Attributes:
        order: All of them, fastest first.
        ratios: Of those that share a round with the reference, how many times as fast that ran.
        ranks: Of those whose place noise does not leave open; equal where it cannot tell them apart.
    """

    order: tuple[str, ...]
    ratios: Mapping[str, Spread]
    ranks: Mapping[str, int]


def ranking(rounds_by_name: Mapping[str, Rounds], reference: str) -> Ranking:
    """Return how splits stand to each other, by their throughput in each round."""
    ours = rounds_by_name[reference]
    ratios = {name: ratio for name, rounds in rounds_by_name.items() if (ratio := ratio_of(ours, rounds))}

    def place(name: str) -> tuple[float, float]:
        if name in ratios:
            return ratios[name].median, 0.0
        return inf, -median(rounds_by_name[name].values() or [0.0])

    order = tuple(sorted(rounds_by_name, key=place))
    return Ranking(order, ratios, _ranks(order, ratios, rounds_by_name))


def _ranks(order: Sequence[str], ratios: Mapping[str, Spread], rounds_by_name: Mapping[str, Rounds]) -> dict[str, int]:
    sides = {name: _side(ratios[name]) for name in order if name in ratios and len(ratios[name].runs) > 1}
    ranks: dict[str, int] = {}
    first = ""  # of those that share the last rank
    for name in _placed(sides):
        if (
            not first
            or sides[name] != sides[first]
            or (sides[name] and _slower(rounds_by_name[name], rounds_by_name[first]))
        ):
            first, ranks[name] = name, len(ranks) + 1
        else:
            ranks[name] = ranks[first]
    return ranks


def _placed(sides: Mapping[str, int]) -> list[str]:
    """Return those whose place in the order noise does not leave open.

    Args:
        sides: Of each split, in the order of their ratios, its ``_side``: slower (1) or faster (−1) than the reference
            beyond noise, or neither (0), whose place is open behind a slower one and before a faster one.
    """
    values = list(sides.values())
    return [
        name for at, (name, side) in enumerate(sides.items()) if side or not (1 in values[:at] or -1 in values[at:])
    ]


def _slower(rounds: Rounds, other: Rounds) -> bool:
    """Say whether a split was slower than another beyond noise."""
    ratio = ratio_of(other, rounds)
    return ratio is not None and len(ratio.runs) > 1 and _side(ratio) > 0


def _side(ratio: Spread) -> int:
    """Return on which side of 1 the interval of a ratio lies: −1, 1, or 0 where it holds 1."""
    return (ratio.low > 1) - (ratio.high < 1)


def spearman(first: Sequence[float], other: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation; None for fewer than ``FEWEST`` pairs, or where either side is one value."""
    from scipy import stats

    if len(first) < FEWEST or len(set(first)) == 1 or len(set(other)) == 1:
        return None
    return float(stats.spearmanr(first, other).statistic)
