"""Decide who stays in the race: a contender runs as long as it may still be the fastest.

After each round from the second on, the logarithms of all speeds so far are fitted by contender and round,

    log speed(c, r) = a(c) + b(r) + e(c, r),     e normal, independent, of a variance v(c)

so that what a round had of the machine's mood is taken out, and what is left says how noisy runs are: v is the variance
of the noisiest contender. After n rounds, with K contenders in all, one is dropped if it is behind the leader (the
largest a) by more than 1%, and by more than

    t(1 − L; residual degrees of freedom) · standard error of the difference of their a,   L = 5% ÷ 2^(n − 1) ÷ (K − 1)

The best is dropped only if one of the K − 1 others is taken for faster than it after some round. The chance of that is
at most L for each of them after n rounds, so at most 5% · (1/2 + 1/4 + …) = 5% for all and the whole race, however
many rounds there are: a race may be prolonged. Whoever is dropped stays so.

Source: racing after Maron and Moore, "Hoeffding races", NIPS 1993, and Birattari et al., "A racing algorithm for
configuring metaheuristics", GECCO 2002; a two-way layout with missing cells, by least squares, as in Scheffé, "The
Analysis of Variance", 1959, section 4.2; Bonferroni's bound. The noisiest contender's variance in place of the pooled
one is a precaution of ours: pooled, a best that is noisier than the others was dropped in 18% of simulated races.
Simulated rounds hold the bound in a test: such ones, heavy tails, and rare slow runs among them.
"""

from collections.abc import Collection, Mapping
from math import log

ALPHA = 0.05
"""The chance of dropping the best, over the whole race, is at most this."""
FIRST = 2
"""After so many rounds, contenders are dropped for the first time."""
TIED = 0.01
"""Nobody is dropped who is behind by no more than this share: so near, it does not matter who wins."""

Speeds = Mapping[str, Mapping[int, float]]
"""Of each contender, its throughput by round."""


def slower_than_the_leader(speeds: Speeds, racing: Collection[str], rounds: int) -> list[str]:
    """Return which of those that are ``racing`` are slower than the leader beyond doubt.

    Args:
        speeds: Of all contenders, those that were dropped before among them, in the rounds up to ``rounds``; a run that
            failed has none.
        racing: Who has not been dropped.
        rounds: How many rounds there were.
    """
    import numpy as np
    from scipy import stats

    names = [name for name, own in speeds.items() if own]
    numbers = sorted({number for own in speeds.values() for number in own})
    cells = [(row, numbers.index(number)) for row, name in enumerate(names) for number in speeds[name]]
    places = [row for row, name in enumerate(names) if name in racing]
    free = len(cells) - len(names) - len(numbers) + 1
    if rounds < FIRST or len(places) < 2 or free < 1:
        return []
    design = np.zeros((len(cells), len(names) + len(numbers)))
    for cell, (row, column) in enumerate(cells):
        design[cell, row] = design[cell, len(names) + column] = 1
    logarithms = np.array([log(speed) for name in names for speed in speeds[name].values()])
    inverse = np.linalg.pinv(design.T @ design)
    effects = inverse @ design.T @ logarithms
    squares = (logarithms - design @ effects) ** 2
    freedom = 1 - np.einsum("ij,jk,ik->i", design, inverse, design)  # of each cell; they add up to ``free``
    of_each = [design[:, row] == 1 for row in range(len(names))]
    noisiest = max(float(sum(squares[own]) / max(sum(freedom[own]), 1e-9)) for own in of_each)
    leader = max(places, key=lambda place: effects[place])
    doubt = float(stats.t.ppf(1 - ALPHA / 2 ** (rounds - 1) / (len(speeds) - 1), free))
    slower = []
    for place in places:
        spread = inverse[leader, leader] + inverse[place, place] - 2 * inverse[leader, place]
        if effects[leader] - effects[place] > max(doubt * (noisiest * max(spread, 0.0)) ** 0.5, TIED):
            slower.append(names[place])
    return slower
