"""Say how well rounds of steps tell plans apart: by how much another plan may be better, and what a stage may take.

A plan is, here, the most even cut of the layers in captured order into so many stages; what a cut costs, and which are
not legal, is left to the optimizer. It costs the share of a step that its largest stage is. The plan P of all rounds is
held against draws of the rounds, with replacement, as many as there are:

    regret   what the cost of P in a draw, divided by that of the draw's own best plan, less 1, stays below in 95% of
             draws: by so much may the plan of other rounds be better
    spread   half the width of the interval that 95% of the costs of P lie in, divided by the cost of P: by so much may
             its promise move

Source: Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapters 6 and 13.
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from profiler.rounds.shares import WITHIN, Floats, shares_drawn, shares_of

DRAWS = 100
HALVINGS = 30
SURE = 0.95
USUAL = 2, 4
"""How many stages are planned for, as a rule."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """How well rounds tell plans apart, as shares of what the plan from them costs: the worst of some stage counts."""

    regret: float
    spread: float


def doubt_of(steady_s: Floats, *counts: int) -> Doubt:
    """Return how well rounds tell plans of each of some numbers of stages apart, the worst of them.

    Args:
        steady_s: What each layer took in each round, at the usual pace, ``[layer, round]``.
        counts: The numbers of stages; a profile is kept, and planned for with others than it was made for.
    """
    own, drawn = shares_of(steady_s), shares_drawn(steady_s, DRAWS)
    every = [_of_count(own, drawn, stages) for stages in {*counts}]
    return Doubt(max(each.regret for each in every), max(each.spread for each in every))


def _of_count(own: Floats, drawn: Floats, stages: int) -> Doubt:
    """Return how well plans are told apart by the shares of all rounds, and by those of each draw."""
    ends = even_cut(own, stages)
    costs = np.array([largest_stage(shares, ends) for shares in drawn])
    if not costs.all():
        return Doubt(0.0, 0.0)
    best = np.array([largest_stage(shares, even_cut(shares, stages)) for shares in drawn])
    low, high = np.quantile(costs, WITHIN)
    regret = float(np.quantile(costs / best, SURE)) - 1
    return Doubt(max(0.0, regret), float(high - low) / 2 / largest_stage(own, ends))


def even_cut(costs: Floats, stages: int) -> list[int]:
    """Return behind how many layers each stage ends, where the largest of them is as small as can be.

    Args:
        costs: Of each layer, in order.
        stages: How many stages at most.
    """
    reached = [0.0, *np.cumsum(costs)]
    low, high = max(float(costs.max()), reached[-1] / stages), reached[-1]
    found = _filled(reached, high, stages)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        ends = _filled(reached, middle, stages)
        if ends[-1] == len(costs):
            high, found = middle, ends
        else:
            low = middle
    return found


def _filled(reached: list[float], most: float, stages: int) -> list[int]:
    """Return where stages end that take as many layers each as cost no more than ``most``."""
    ends: list[int] = []
    for _ in range(stages):
        begun = ends[-1] if ends else 0
        ends.append(bisect_right(reached, reached[begun] + most, begun) - 1)
    return ends


def largest_stage(costs: Floats, ends: list[int]) -> float:
    """Return what the largest of some stages costs."""
    return max(float(costs[begin:end].sum()) for begin, end in pairwise([0, *ends]))
