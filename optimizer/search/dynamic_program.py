"""Choose the cuts that minimise the slowest stage and, among those, make the others as even as can be.

Among the splits of smallest bottleneck B, the least sum of the squares of what stages cost: the rest is spread, so that
no stage but the slowest holds others up. Among equals, the earliest cuts in rank order. A lexicographic (maximum,
sum) has no optimal substructure, so the two are met one after the other, each by a recurrence:

1. B, the smallest maximum; then only stages of at most B count.
2. The least sum of squares, from the back; then, from the front, the first candidate that keeps it.

Everything is an integer, so ties are ties: what is squared are stages in units of B ÷ 2²⁰.
"""

from collections.abc import Callable

import numpy as np

from optimizer.search.stage_table import NEVER, Integers

Matrices = Callable[[int], Integers]
"""Returns what a stage costs, ``[J, I]``, from candidate J of the cut before it to candidate I of the cut behind it;
``NEVER`` where there is no such stage. Candidates are the same for all cuts, ∅ first, V last."""
_FINENESS = 20
_FAR = NEVER >> 1
"""More than any sum of squares; two of it do not overflow."""


def best_chain(costs: Matrices, stages: int) -> list[int] | None:
    """Return the best split as the place of each cut among its candidates, or None if there is none.

    Args:
        costs: What each stage costs, in nanoseconds.
        stages: How many there are.
    """
    bottleneck = smallest_behind(costs, stages)[0][0]
    if bottleneck >= NEVER:
        return None
    unit = max(1, bottleneck >> _FINENESS)

    def squares(stage: int) -> Integers:
        own = costs(stage)
        return np.where(own <= bottleneck, (np.minimum(own, bottleneck) // unit) ** 2, _FAR)

    behind = [squares(stages - 1)[:, -1]]
    for stage in range(stages - 2, -1, -1):
        behind.append(np.minimum((squares(stage) + behind[-1][None, :]).min(axis=1), _FAR))
    behind.reverse()
    chain, here = list[int](), 0
    for stage in range(stages - 1):
        here = int(np.argmin(squares(stage)[here] + behind[stage + 1]))  # the first of equals
        chain.append(here)
    return chain


def smallest_behind(costs: Matrices, stages: int) -> list[Integers]:
    """Return for each stage, front first, the smallest dearest stage from it on, by where it begins."""
    behind = [costs(stages - 1)[:, -1]]
    for stage in range(stages - 2, -1, -1):
        behind.append(np.asarray(np.maximum(costs(stage), behind[-1][None, :]).min(axis=1)))
    return behind[::-1]
