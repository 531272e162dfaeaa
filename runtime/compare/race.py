"""Decide who stays in the race: a contender runs as long as it may still be the fastest.

After each round from the second on, the logarithms of all speeds so far are fitted by contender and round,

    log speed(c, r) = a(c) + b(r) + e(c, r),     e normal, of one variance, independent

so that what a round had of the machine's mood is taken out, and what is left says how noisy a run is. After n rounds,
with K contenders in all, one is dropped if it is behind the leader (the largest a) by more than 1%, and by more than

    t(1 − L; residual degrees of freedom) · standard error of the difference of their a,   L = 5% ÷ 2^(n − 1) ÷ (K − 1)

The best is dropped only if one of the K − 1 others is taken for faster than it after some round. The chance of that is
at most L for each of them after n rounds, so at most 5% · (1/2 + 1/4 + …) = 5% for all and the whole race, however
many rounds there are: a race may be prolonged. Whoever is dropped stays so. The yardstick, one core, runs every round.

Source: racing after Maron and Moore, "Hoeffding races", NIPS 1993, and Birattari et al., "A racing algorithm for
configuring metaheuristics", GECCO 2002; a two-way layout with missing cells, by least squares, as in Scheffé, "The
Analysis of Variance", 1959, section 4.2; Bonferroni's bound. Not modelled: errors that are not normal. Rare slow runs
make the variance larger, and the test more careful; simulated rounds, such ones among them, hold the bound in a test.
"""

from collections.abc import Mapping, Sequence
from math import log

ALPHA = 0.05
"""The chance of dropping the best, over the whole race, is at most this."""
FIRST = 2
"""After so many rounds, contenders are dropped for the first time."""
TIED = 0.01
"""Nobody is dropped who is behind by no more than this share: so near, it does not matter who wins."""

Speeds = Mapping[str, Mapping[int, float]]
"""Of each contender, its throughput by round."""


def dropped_after(speeds: Speeds, rounds: int) -> dict[str, int]:
    """Return whom the first ``rounds`` rounds have dropped, each with the round after which it was.

    Args:
        speeds: Of all contenders but the yardstick; a run that failed has none. Rounds beyond ``rounds``, and runs of
            a contender after it was dropped, do not count.
        rounds: So many are complete.
    """
    dropped: dict[str, int] = {}
    for number in range(FIRST, rounds + 1):
        known = {
            name: {at: own[at] for at in own if at <= min(number, dropped.get(name, number))}
            for name, own in speeds.items()
        }
        dropped |= dict.fromkeys(_slower_than_the_leader(known, [*known.keys() - dropped], number), number)
    return dropped


def _slower_than_the_leader(speeds: Speeds, racing: Sequence[str], rounds: int) -> list[str]:
    """Return which of those that are ``racing`` are slower than the leader beyond doubt."""
    import numpy as np
    from scipy import stats

    names = [name for name, own in speeds.items() if own]
    candidates = [name for name in names if name in racing]
    numbers = sorted({number for own in speeds.values() for number in own})
    cells = [(row, numbers.index(number)) for row, name in enumerate(names) for number in speeds[name]]
    free = len(cells) - len(names) - len(numbers) + 1
    if len(candidates) < 2 or free < 1:
        return []
    design = np.zeros((len(cells), len(names) + len(numbers)))
    for cell, (row, column) in enumerate(cells):
        design[cell, row] = design[cell, len(names) + column] = 1
    logarithms = np.array([log(speed) for name in names for speed in speeds[name].values()])
    inverse = np.linalg.pinv(design.T @ design)
    effects = inverse @ design.T @ logarithms
    variance = float(np.sum((logarithms - design @ effects) ** 2)) / free
    places = [names.index(name) for name in candidates]
    leader = max(places, key=lambda place: effects[place])
    level = ALPHA / 2 ** (rounds - 1) / (len(speeds) - 1)
    doubt = float(stats.t.ppf(1 - level, free))
    slower = []
    for name, place in zip(candidates, places, strict=True):
        spread = inverse[leader, leader] + inverse[place, place] - 2 * inverse[leader, place]
        doubted = max(doubt * (variance * max(spread, 0.0)) ** 0.5, TIED)
        if effects[leader] - effects[place] > doubted:
            slower.append(name)
    return slower
