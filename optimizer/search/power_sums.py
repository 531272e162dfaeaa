"""Of the splits whose slowest stage is nearly the smallest, those whose other stages are likely to hold up least.

Stages are unsteady, so what a minibatch takes is the mean of a maximum, and a stage that is nearly as slow as the
slowest one makes it longer. With c_s what stage s costs and f_s by what factor it takes longer or shorter,

    E[max_s c_s·f_s]  ≤  ( Σ_s E[(c_s·f_s)^p] )^(1/p)          for any p ≥ 1

so where stages are alike unsteady, the split of the smallest Σ c_s^p has the smallest bound. A sum is found by dynamic
programming as a maximum is, over the cuts of all splits that stay below a limit. Which p bounds the tightest depends on
how unsteady stages are; a small one is for much noise, a large one for little.

Source: Aven, "Upper (lower) bounds on the mean of the maximum (minimum) of a number of random variables", Journal of
Applied Probability 22, 1985.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from optimizer.costs import Problem
from optimizer.search.lattice import Integers
from optimizer.search.solver import Space, stage_costs_within
from optimizer.search.stage_costs import NEVER

SQUARINGS = 3, 5
"""p = 2^3 and 2^5, by squaring: such products are the same on every processor."""
NEAR = 0.02
"""By which share the slowest stage may be above the smallest."""


def near_best(problem: Problem, space: Space, best: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield splits that are nearly as good as the best one, as bounds, each once; none where there are too many.

    Args:
        problem: What the splits have to keep to; one without links.
        space: Where they are searched.
        best: The split of the smallest bottleneck.
    """
    limit_ns = int(problem.bottleneck_ns(best) * (1 + NEAR))
    candidates = stage_costs_within(problem, space, limit_ns)
    if candidates is None:
        return
    costs_ns = [np.where(costs > limit_ns, NEVER, costs) for costs in candidates.costs_ns()]
    seen = {tuple(best)}
    for squarings in SQUARINGS:
        bounds = candidates.bounds_at(_smallest_sum(costs_ns, limit_ns, squarings))
        if bounds not in seen:
            seen.add(bounds)
            yield bounds


def _smallest_sum(costs_ns: Sequence[Integers], limit_ns: int, squarings: int) -> list[int]:
    """Return the places of the cuts whose stages have the smallest sum of powers; the first of equals."""
    rest: NDArray[np.float64] = np.zeros(1)
    choices = []
    for costs in reversed(costs_ns):
        powers = np.where(costs < NEVER, costs / limit_ns, np.inf)
        for _ in range(squarings):
            powers = powers * powers
        sums = powers + rest[None, :]
        choices.append(np.argmin(sums, axis=1))
        rest = np.min(sums, axis=1)
    places, here = [], 0
    for choice in reversed(choices[1:]):
        here = int(choice[here])
        places.append(here)
    return places
