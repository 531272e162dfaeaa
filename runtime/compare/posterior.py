"""Work out from runs how fast contenders are: the posterior of their speeds, by quadrature.

The logarithm of the speed of contender c in round r is taken to be

    y(c, r) = a(c) + b(r) + s(c) · e(c, r),     e of Student's t with 4 degrees of freedom, independent

a is what is asked for; b the machine's pace, which all that ran in a round share, estimated by median polish; and s(c)
the noise of runs: one for all, of ``NOISES``, times a factor of each contender's own, of ``FACTORS``. Both have the
weights that are written there before any run, so that one run, too, has an interval, and none is without width. The
tails of e are heavy, for now and then a run is slow. Of what a plan promises, log p(c), the prior of a is

    a(c) = log p(c) + shift + 0.15 · e,     e likewise

with one shift for all, for the machine has its pace there, too; a contender without a promise has a flat one. Given the
noise for all, contenders are independent: each has a density over a grid of a, the product of its prior and its runs'
likelihoods, and the density's sum says how likely that noise is.

Sources: Gelman et al., "Bayesian Data Analysis", 3rd edition, 2013, sections 5.4 (pooled variances) and 17.2 (t as a
model of outliers); Tukey, "Exploratory data analysis", 1977, chapter 11 (median polish).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Speeds = Mapping[str, Mapping[int, float]]
"""Of each contender, its throughput by round; none where no run came through."""
FREEDOM = 4
PROMISE = 0.15
"""How far off promises are, as the scale of a prior: five times what they were off on average when checked."""
NOISES = {0.01: 0.2, 0.02: 0.3, 0.04: 0.3, 0.08: 0.15, 0.16: 0.05}
"""The noise of runs, and how likely each is before any run."""
FACTORS = {0.5: 0.2, 1.0: 0.5, 2.0: 0.2, 4.0: 0.1}
"""How many times as noisy one contender is as all, likewise. A product of both is again a power of two of 1%."""
TIED = 0.01
"""Speeds within this share of each other count as the same: so near, it does not matter which is larger."""
STEP = TIED / 4
MARGIN = 0.7
"""The grid's step, and how far it goes beyond every estimate; both in logarithms."""
TURNS = 10
WITHIN = 0.5, 0.025, 0.975


@dataclass(frozen=True, slots=True)
class Estimate:
    """The median of a figure with its 95% interval."""

    median: float
    low: float
    high: float


class Posterior:
    """What is known of the contenders' speeds; all figures are of the pace of the median round."""

    def __init__(self, names: Sequence[str], grid: Floats, densities: Floats, noise: Floats) -> None:
        """Take what ``posterior`` worked out.

        Args:
            names: The contenders.
            grid: Logarithms of speeds, ``(G,)``, with the pace of the median round in them.
            densities: Of each contender for each noise, adding up to 1 over the grid, ``(noise, contender, G)``.
            noise: How likely each noise is, ``(noise,)``.
        """
        self.names = names
        self._grid, self._densities, self._noise = grid, densities, noise

    def speed(self, name: str) -> Estimate:
        """Return a contender's speed, in samples/s."""
        density = self._noise @ self._densities[:, self.names.index(name)]
        return _quantiles(density, float(self._grid[0]))

    def ratio(self, one: str, other: str) -> Estimate:
        """Return how many times as fast one is as another: the ratio of their medians, and its interval."""
        if one == other:
            return Estimate(1.0, 1.0, 1.0)
        median = self.speed(one).median / self.speed(other).median
        size = len(self._grid)
        ours, theirs = (np.fft.rfft(self._densities[:, self.names.index(name)], 2 * size) for name in (one, other))
        density = self._noise @ np.fft.irfft(ours * np.conj(theirs), 2 * size)
        own = _quantiles(np.maximum(np.roll(density, size), 0.0), -size * STEP)
        return Estimate(median, min(own.low, median), max(own.high, median))

    def chance(self, name: str, among: Collection[str]) -> float:
        """Return the chance that no other ``among`` them is faster than a contender by more than ``TIED``."""
        steps = round(TIED / STEP)
        others = [self.names.index(other) for other in self.names if other in among and other != name]
        slower = np.cumsum(self._densities[:, others], axis=2)
        slower = np.pad(slower[:, :, steps:], ((0, 0), (0, 0), (0, steps)), constant_values=1.0)
        own = self._densities[:, self.names.index(name)]
        return float(self._noise @ np.sum(own * np.prod(slower, axis=1), axis=1))


def posterior(speeds: Speeds, promises: Mapping[str, float] | None = None) -> Posterior:
    """Return what runs, and what plans promise, say of the contenders' speeds.

    Args:
        speeds: The runs; without any, nothing is known of anybody.
        promises: Of contenders, the throughput that its plan promises; None where only runs are to speak.
    """
    runs = tuple((name, tuple(own.items())) for name, own in speeds.items() if own)
    return _posterior(runs, tuple((promises or {}).items()))


@lru_cache(maxsize=256)
def _posterior(
    runs: tuple[tuple[str, tuple[tuple[int, float], ...]], ...], promised: tuple[tuple[str, float], ...]
) -> Posterior:
    names = [name for name, _ in runs]
    if not names:
        return Posterior(names, np.empty(0), np.empty((0, 0, 0)), np.empty(0))
    rounds = sorted({number for _, own in runs for number, _ in own})
    table = np.full((len(names), len(rounds)), np.nan)
    for row, (_, own) in enumerate(runs):
        for number, speed in own:
            table[row, rounds.index(number)] = np.log(speed)
    promises = np.log([dict(promised).get(name, np.nan) for name in names])
    known = ~np.isnan(promises)
    levels, paces = _polished(table)
    if known.any():
        promises += np.median((levels - promises)[known])
    grid = _grid(np.concatenate([levels, promises[known]]))
    logarithms = _likelihoods(table - paces, grid)
    logarithms[:, known] += _student(grid - promises[known, None], PROMISE)
    highest = logarithms.max(axis=2, keepdims=True)
    densities = np.exp(logarithms - highest)
    sums = densities.sum(axis=2, keepdims=True)
    # Each pace that was estimated from the runs themselves took one of their degrees of freedom.
    noise = np.log(list(NOISES.values())) + (len(rounds) - (not known.any())) * np.log(list(NOISES))
    noise += (highest + np.log(sums)).sum(axis=(1, 2))
    weights = np.exp(noise - noise.max())
    return Posterior(names, grid + np.median(paces), densities / sums, weights / weights.sum())


def _polished(table: Floats) -> tuple[Floats, Floats]:
    """Return the contenders' levels and the rounds' paces, by median polish of ``(contender, round)``."""
    levels, paces = np.nanmedian(table, axis=1), np.zeros(table.shape[1])
    for _ in range(TURNS):
        paces = np.nanmedian(table - levels[:, None], axis=0)
        levels = np.nanmedian(table - paces, axis=1)
    return levels, paces


def _grid(estimates: Floats) -> Floats:
    return np.arange(estimates.min() - MARGIN, estimates.max() + MARGIN, STEP)


def _likelihoods(table: Floats, grid: Floats) -> Floats:
    """Return the logarithm of the likelihood of each contender's runs, ``(noise, contender, grid)``.

    Args:
        table: Runs at the usual pace, ``(contender, round)``, not a number where there is none.
        grid: What the contender's own speed may be.
    """
    away = table[:, :, None] - grid
    scales = {noise * factor for noise in NOISES for factor in FACTORS}
    of_scale = {scale: np.nansum(_student(away, scale), axis=1) for scale in scales}
    return np.array(
        [
            np.logaddexp.reduce([np.log(weight) + of_scale[noise * factor] for factor, weight in FACTORS.items()])
            for noise in NOISES
        ]
    )


def _student(away: Floats, scale: float) -> Floats:
    """Return the logarithm of the density of Student's t, but for a constant."""
    return np.asarray(-np.log(scale) - (FREEDOM + 1) / 2 * np.log1p((away / scale) ** 2 / FREEDOM))


def _quantiles(density: Floats, first: float) -> Estimate:
    """Return the exponentials of the median and the 95% interval of a density on a grid that begins at ``first``."""
    reached = np.cumsum(density)  # up to the upper end of each cell
    at = np.interp(WITHIN, reached / reached[-1], np.arange(len(density)) + 0.5)
    return Estimate(*map(float, np.exp(first + at * STEP)))
