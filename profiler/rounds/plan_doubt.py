"""Say how unsure a plan from some rounds is: by how much its promise moves when the rounds are drawn again.

A plan is, here, the most even cut of the layers in captured order into so many stages; what a cut costs, and which are
not legal, is left to the optimizer. Its promise is the share of a step that the largest stage is.

Source: Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 6.
"""

import numpy as np

from profiler.rounds.shares import Floats, shares_drawn

DRAWS = 40
HALVINGS = 40


def plan_doubt(steady_s: Floats, stages: int) -> float:
    """Return the standard deviation of the promise over draws of the rounds, as a share of it.

    Args:
        steady_s: What each layer took in each round, at the usual pace, ``[layer, round]``.
        stages: How many stages the layers are cut into.
    """
    promises = [largest_stage(shares, stages) for shares in shares_drawn(steady_s, DRAWS)]
    return float(np.std(promises) / np.mean(promises)) if np.mean(promises) else 0.0


def largest_stage(costs: Floats, stages: int) -> float:
    """Return the share of all costs that the largest stage is, where layers are cut as evenly as can be, in order."""
    ends = np.concatenate([[0.0], np.cumsum(costs)])
    whole = float(ends[-1]) or 1.0
    low, high = max(float(costs.max()), whole / stages), whole
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        reached = 0
        for _stage in range(stages):
            reached = int(np.searchsorted(ends, ends[reached] + middle, side="right")) - 1
        low, high = (low, middle) if reached == len(costs) else (middle, high)
    return high / whole
