"""Choose the cuts that minimise the slowest stage, and settle ties.

Among the splits of smallest bottleneck B, those that send the fewest bytes; among these the smallest second-worst
stage; among these the earliest cuts in rank order. A lexicographic (maximum, sum) has no optimal substructure, so the
objectives are met one after the other, each by a recurrence over what the one before has left:

1. B; then only stages of at most B count.
2. The fewest bytes, from the front and from the back; then only stages count that lie on a split of just as many.
3. The smallest maximum of all stages but one, T, which is every split's second-worst stage at best.
4. From the front, the first candidate from which the rest can keep T but for one stage, if that is still to spare.

Everything is an integer, so ties are ties.
"""

from collections.abc import Callable

import numpy as np

from optimizer.search.stage_table import NEVER, Integers

Matrices = Callable[[int], Integers]
"""Returns what a stage costs, ``[J, I]``, from candidate J of the cut before it to candidate I of the cut behind it;
``NEVER`` where there is no such stage. Candidates are the same for all cuts, ∅ first, V last."""


def best_chain(costs: Matrices, stages: int, cut_bytes: Integers) -> list[int] | None:
    """Return the best split as the place of each cut among its candidates, or None if there is none.

    Args:
        costs: What each stage costs, in nanoseconds.
        stages: How many there are.
        cut_bytes: The bytes that cross behind each candidate; nothing behind the last.
    """
    bottleneck = smallest_behind(costs, stages)[0][0]
    if bottleneck >= NEVER:
        return None
    before = _bytes_before(costs, stages, cut_bytes, bottleneck)
    behind = _bytes_behind(costs, stages, cut_bytes, bottleneck)
    fewest = behind[0][0]

    def tied(stage: int) -> Integers:
        own = costs(stage)
        sent = before[stage][:, None] + (cut_bytes + behind[stage + 1])[None, :]
        return np.where((own <= bottleneck) & (sent == fewest), own, NEVER)

    return _first_of_smallest_second(tied, stages)


def smallest_behind(costs: Matrices, stages: int) -> list[Integers]:
    """Return for each stage, front first, the smallest dearest stage from it on, by where it begins."""
    behind = [costs(stages - 1)[:, -1]]
    for stage in range(stages - 2, -1, -1):
        behind.append(_least(costs(stage), behind[-1]))
    return behind[::-1]


def _least(costs: Integers, rest: Integers) -> Integers:
    """Return for each J the smallest maximum of a stage and what lies behind it."""
    return np.asarray(np.maximum(costs, rest[None, :]).min(axis=1))


def _bytes_before(costs: Matrices, stages: int, cut_bytes: Integers, bottleneck: np.int64) -> list[Integers]:
    """Return for each cut, both ends included, the fewest bytes sent up to it, its own included, by candidate."""
    before = [np.where(np.arange(len(cut_bytes)) == 0, np.int64(0), NEVER)]
    for stage in range(stages):
        sent = np.where(costs(stage) <= bottleneck, before[-1][:, None], NEVER).min(axis=0)
        before.append(np.minimum(sent + cut_bytes, NEVER))
    return before


def _bytes_behind(costs: Matrices, stages: int, cut_bytes: Integers, bottleneck: np.int64) -> list[Integers]:
    """Return for each cut, both ends included, the fewest bytes sent behind it, by candidate."""
    last = len(cut_bytes) - 1
    behind = [np.where(np.arange(len(cut_bytes)) == last, np.int64(0), NEVER)]
    for stage in range(stages - 1, -1, -1):
        sent = np.minimum(cut_bytes + behind[-1], NEVER)
        behind.append(np.where(costs(stage) <= bottleneck, sent[None, :], NEVER).min(axis=1))
    return behind[::-1]


def _first_of_smallest_second(costs: Matrices, stages: int) -> list[int]:
    """Return the first split of the smallest second-worst stage."""
    every = but_one = np.full(len(costs(0)), NEVER)
    every[-1] = 0
    behind = [(every, but_one)]
    for stage in range(stages - 1, -1, -1):
        own = costs(stage)
        spared = np.where(own < NEVER, every[None, :], NEVER).min(axis=1)
        but_one = np.minimum(_least(own, but_one), spared)
        every = _least(own, every)
        behind.append((every, but_one))
    behind.reverse()
    second, chain, here, spare = but_one[0], list[int](), 0, True
    for stage in range(stages - 1):
        own, (every, but_one) = costs(stage)[here], behind[stage + 1]
        over = own > second
        rest = np.where(over | (not spare), every, but_one)
        here = int(np.flatnonzero((own < NEVER) & (rest <= second) & (~over | spare))[0])
        spare = spare and not over[here]
        chain.append(here)
    return chain
