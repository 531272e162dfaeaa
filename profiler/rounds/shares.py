"""Estimate what each part of a step takes: what share of the step it is, and what a step takes, each by what is steady.

In round r part i, a layer's forward, backward or update or the loss's, takes t_i(r), and all parts together T(r). What
a second is worth changes within minutes, for all parts alike; and now and then something else that runs meets one of
them. So the rounds are fitted by medians, in turn until they settle:

    t_i(r) ≈ cost_i · pace(r)
    pace(r)   the median over the parts of t_i(r) ÷ cost_i, each part counted with its cost
    cost_i    the median over r of t_i(r) ÷ pace(r)

and scaled so that the costs add up to the median of T: what a second is worth is the machine's affair.

Layers of the same kind, sizes and operations take much the same, so each share of k ≥ 3 such is drawn to their mean m,
as far as what they differ by is noise:

    share_i ← m + τ² ÷ (τ² + σ²) · (share_i − m)

with σ² the mean variance of these shares when the rounds are drawn again, and τ² what they vary more than that; 0 if
they do not.

The parts are held against plain steps, each round against the plain steps on both sides of it:

    closure   median over r of T(r) ÷ mean(plain(r), plain(r + 1)), less 1

What was compared is in decision 46.
Sources: Tukey, "Exploratory data analysis", 1977, chapter 11 (fits by medians, row and column in turn); Efron and
Morris, "Data analysis using Stein's estimator and its generalizations", JASA 70 (1975), section 2.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from profiler.profile import Timing
from profiler.rounds.samples import LOSS, Samples

Floats = NDArray[np.float64]
Part = tuple[str, int]
"""``forward``, ``backward`` or ``update``, and the layer's position."""
FIRST = 0.2
"""The quantile of a part's times that the fit begins with, which what is met now and then does not reach."""
TURNS = 5
FEWEST_ALIKE = 3
DRAWS, SEED = 200, 0
WITHIN = 0.025, 0.975


@dataclass(frozen=True, slots=True)
class StepShares:
    """What each part of a step takes.

    Attributes:
        costs_s: Each part's cost.
        timings: Each part's cost as it is without others like it, with its interval; the samples as they were timed.
    """

    costs_s: Mapping[Part, float]
    timings: Mapping[Part, Timing]

    def layer_s(self, position: int) -> float:
        """Return what a layer costs: its forward, backward and update."""
        return sum(cost_s for (_, at), cost_s in self.costs_s.items() if at == position)


def step_shares(samples: Samples, alike: Sequence[Hashable], scale_s: float | None = None) -> StepShares:
    """Estimate what each part of a step takes from rounds.

    Args:
        samples: The rounds.
        alike: For each layer what it has in common with those that take much the same.
        scale_s: What a step takes, if not the median of the rounds.

    Returns:
        The seconds that each part takes, those of several alike drawn towards each other; and each part's own timing,
        with bounds from rounds that are drawn again.
    """
    rows = _rows(samples)
    times_s = np.array(list(rows.values()))
    scale_s = float(np.median(times_s.sum(axis=0))) if scale_s is None else scale_s
    steady_s = steadied(times_s)
    own, drawn = shares_of(steady_s), shares_drawn(steady_s)
    groups: dict[Hashable, list[int]] = {}
    for at, (kind, position) in enumerate(rows):
        groups.setdefault((kind, LOSS if position == LOSS else alike[position]), []).append(at)
    pooled = own.copy()
    for group in groups.values():
        if len(group) >= FEWEST_ALIKE:
            pooled[group] = _drawn_together(own[group], float(np.mean(np.var(drawn[:, group], axis=0))))
    low, high = np.quantile(drawn, WITHIN, axis=0)
    timings = {
        part: Timing(
            median_s=float(own[at]) * scale_s,
            low_s=float(min(low[at], own[at])) * scale_s,
            high_s=float(max(high[at], own[at])) * scale_s,
            samples_s=tuple(rows[part]),
        )
        for at, part in enumerate(rows)
    }
    return StepShares({part: float(share) * scale_s for part, share in zip(rows, pooled, strict=True)}, timings)


def steadied(times_s: Floats) -> Floats:
    """Return what each part would have taken in each round at the usual pace, ``[part, round]``.

    Args:
        times_s: What it took.
    """
    costs = np.quantile(times_s, FIRST, axis=1)
    counted = costs > 0
    pace = np.ones(times_s.shape[1])
    for _ in range(TURNS):
        if not counted.any():
            break
        pace = _weighted_medians(times_s[counted] / costs[counted, None], costs[counted])
        costs = np.median(times_s / pace, axis=1)
        counted = costs > 0
    return np.asarray(times_s / pace)


def shares_of(steady_s: Floats) -> Floats:
    """Return what share of a step each part is, of what parts would have taken at the usual pace."""
    costs = np.median(steady_s, axis=1)
    return np.asarray(costs / (costs.sum() or 1.0))


def shares_drawn(steady_s: Floats, draws: int = DRAWS) -> Floats:
    """Return the shares of many draws of the rounds, ``[draw, part]``; all parts in a draw have the same rounds."""
    rounds, drawing = steady_s.shape[1], np.random.default_rng(SEED)
    return np.array([shares_of(steady_s[:, drawing.integers(0, rounds, rounds)]) for _ in range(draws)])


def _weighted_medians(values: Floats, weights: Floats) -> Floats:
    """Return the median of each column, each row counted with its weight."""
    order = np.argsort(values, axis=0)
    reached = np.cumsum(weights[order], axis=0) >= weights.sum() / 2
    middle = np.take_along_axis(order, np.argmax(reached, axis=0)[None, :], axis=0)
    found = np.take_along_axis(values, middle, axis=0)[0]
    return np.asarray(np.where(found > 0, found, 1.0))


def closure_error(samples: Samples) -> float:
    """Return by how much the parts of a step are more than plain steps just before and after, as a share."""
    plain = np.array(samples.whole_step)
    around = np.append((plain[:-1] + plain[1:]) / 2, plain[-1])
    return float(np.median(step_totals(samples) / around)) - 1


def step_totals(samples: Samples) -> Floats:
    """Return what all parts of a step took together in each round."""
    return np.asarray(np.sum(list(_rows(samples).values()), axis=0))


def layer_times(samples: Samples) -> Floats:
    """Return what each layer would have taken in each round at the usual pace, ``[layer, round]``.

    The loss counts to the last layer.
    """
    rows = _rows(samples)
    layers = np.zeros((max(position for _, position in rows) + 1, len(next(iter(rows.values())))))
    for (_, position), times_s in rows.items():
        layers[position] += times_s  # the loss's position stands for the last
    return steadied(layers)


def _rows(samples: Samples) -> dict[Part, list[float]]:
    stores = {"forward": samples.forward, "backward": samples.backward, "update": samples.update}
    return {(kind, position): times_s for kind, store in stores.items() for position, times_s in store.items()}


def _drawn_together(own: Floats, noise: float) -> Floats:
    """Return the shares of layers that take much the same, as far as the data say so; they add up to what they did."""
    more = max(0.0, float(np.var(own, ddof=1)) - noise)
    mean = own.mean()
    return np.asarray(mean + (more / (more + noise) if more + noise else 1.0) * (own - mean))
