"""Rank splits and say whether the answer is firm, all from one posterior, so that no two of these disagree.

    order   by speed, the fastest first; splits without a run stand last
    ties    the splits in the race that cannot be told from the fastest one
    rank    1 of the fastest and its ties, the place in that order of the others
    firm    no split ties with the fastest; or that is the best, or within 1% of it, with 95%; or every tie is within 3%

Two splits are told apart if the 95% interval of the ratio of their speeds lies above 1, to the digits that are shown.
Who is out of the race is told from the fastest by the race, and by its level: runs and promise together leave it a
chance to be the best of 2.5% ÷ (K − 1). If the fastest itself is out, promises were wrong, and nobody counts as out.

How many more rounds would be enough is worked out from that intervals shrink with the root of the number of rounds.
"""

from collections.abc import Collection
from dataclasses import dataclass
from math import ceil, log

from runtime.compare.posterior import Estimate, Posterior

SURE = 0.95
APART = 1.005
"""A ratio above it is shown as more than 1.00."""
NEAR = 1.03
"""Who is no further apart than so ties, and needs no more rounds."""
MOST_MORE = 30


@dataclass(frozen=True, slots=True)
class Ranking:
    """How splits stand to each other.

    Attributes:
        order: All of them, fastest first.
        ranks: Of those that ran.
        ties: Which cannot be told from the fastest.
        firm: Whether more rounds would not change the answer.
        more_rounds: How many more are likely to make it firm; 0 where it is.
    """

    order: tuple[str, ...]
    ranks: dict[str, int]
    ties: tuple[str, ...]
    firm: bool
    more_rounds: int


def ranking(known: Posterior, splits: Collection[str], rounds: int, out: Collection[str] = ()) -> Ranking:
    """Return how splits stand to each other.

    Args:
        known: What their runs say of all contenders' speeds.
        splits: Those to rank.
        rounds: How many have been run.
        out: Which are out of the race.
    """
    ran = sorted((name for name in splits if name in known.names), key=lambda name: -known.speed(name).median)
    order = (*ran, *(name for name in splits if name not in known.names))
    if not ran:
        return Ranking(order, {}, (), firm=False, more_rounds=1)
    racing = [name for name in ran if name not in out or ran[0] in out]
    behind = {name: known.ratio(ran[0], name) for name in racing[1:]}
    ties = {name: ratio for name, ratio in behind.items() if not apart(ratio)}
    ranks = {name: 1 if name in ties else place for place, name in enumerate(ran, 1)}
    firm = all(ratio.high <= NEAR for ratio in ties.values()) or known.chance(ran[0], racing) >= SURE
    more = 0 if firm else min(MOST_MORE, max(_more_rounds(ratio, rounds) for ratio in ties.values()))
    return Ranking(order, ranks, tuple(ties), firm, more)


def apart(ratio: Estimate) -> bool:
    """Say whether one is faster than another beyond doubt, of how many times as fast it is."""
    return ratio.low > APART


def decided(ratio: Estimate) -> bool:
    """Say whether runs tell which of two is faster, or that they are as fast."""
    return apart(ratio) or ratio.high < 1 / APART or (ratio.high <= NEAR and ratio.low >= 1 / NEAR)


def _more_rounds(ratio: Estimate, rounds: int) -> int:
    """Return how many more rounds are likely to tell two splits apart, or that they are as fast."""
    behind, half = log(ratio.median), log(ratio.high / ratio.low) / 2
    gap = max(behind, log(NEAR) - behind)  # the end of the interval that has to pass 1, or NEAR
    return max(1, ceil(rounds * (half / gap) ** 2) - rounds)
