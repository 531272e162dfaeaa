"""Estimate what each part of a step takes: what share of the step it is, and what a step takes, each by what is steady.

In round r part i, a layer's forward, backward or update or the loss's, takes t_i(r), and all parts together T(r). What
a second is worth changes within minutes, for all parts alike; and now and then something else that runs meets one of
them. So the rounds are fitted by medians, in turn until they settle:

    t_i(r) ≈ cost_i · pace(r)
    pace(r)   the median over the parts of t_i(r) ÷ cost_i, each part counted with its cost
    cost_i    the median over r of t_i(r) ÷ pace(r)

and scaled so that the costs add up to the median of T: what a second is worth is the machine's affair.

The parts are held against plain steps, each round against the plain steps on both sides of it:

    closure   median over r of T(r) ÷ mean(plain(r), plain(r + 1)), less 1

What was compared is in decision 46.
Source: Tukey, "Exploratory data analysis", 1977, chapter 11 (fits by medians, row and column in turn).
"""

import numpy as np
from numpy.typing import NDArray

from profiler.rounds.samples import LOSS, Samples

Floats = NDArray[np.float64]
Part = tuple[str, int]
"""``forward``, ``backward`` or ``update``, and the layer's position."""
FIRST = 0.2
"""The quantile of a part's times that the fit begins with, which what is met now and then does not reach."""
TURNS = 5
DRAWS, SEED = 200, 0
WITHIN = 0.025, 0.975


def step_costs(samples: Samples, scale_s: float | None = None) -> dict[Part, float]:
    """Estimate from rounds what each part of a step takes, in seconds.

    Args:
        samples: The rounds.
        scale_s: What a step takes, if not the median of the rounds.
    """
    rows = _rows(samples)
    times_s = np.array(list(rows.values()))
    scale_s = float(np.median(times_s.sum(axis=0))) if scale_s is None else scale_s
    return {part: float(share) * scale_s for part, share in zip(rows, shares_of(steadied(times_s)), strict=True)}


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
    layers = np.array([samples.took_s(position) for position in samples.update])
    layers[-1] += samples.took_s(LOSS)
    return steadied(layers)


def _rows(samples: Samples) -> dict[Part, list[float]]:
    stores = {"forward": samples.forward, "backward": samples.backward, "update": samples.update}
    return {(kind, position): times_s for kind, store in stores.items() for position, times_s in store.items()}
