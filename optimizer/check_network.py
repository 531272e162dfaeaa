"""What a plan's links say of its stages, for the check: how slow a rank is, and what messages take.

Nothing here is shared with ``network``, which works the same out in whole numbers for the search.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from optimizer.types import Plan
from profiler.types import Profile

Message = tuple[float, float]
"""What a message takes, and what of it the next one need not wait for, in seconds."""
NOTHING: Message = (0.0, 0.0)


def factor(plan: Plan, profile: Profile, stage: int) -> Fraction:
    """Return what a stage's rank takes for what takes the profile's core 1; 1 where that cannot be told apart."""
    if plan.links is None:
        return Fraction(1)
    here, there = plan.links.ranks[stage].step, profile.whole_step
    if max(here.low_s, there.low_s) <= min(here.high_s, there.high_s):
        return Fraction(1)
    return Fraction(round(here.median_s * 1e9), round(there.median_s * 1e9))


def messages(plan: Plan, cut: int, down_bytes: int, up_bytes: int) -> tuple[Message, Message]:
    """Return the messages of a minibatch over the wire behind a stage, down and up; the ends have none."""
    if plan.links is None or not 0 <= cut < len(plan.links.wires):
        return NOTHING, NOTHING
    wire = plan.links.wires[cut]
    return _message(wire.sizes_bytes, wire.down_s, down_bytes), _message(wire.sizes_bytes, wire.up_s, up_bytes)


def slowest_cycle_s(
    works_s: Sequence[float], updates_s: Sequence[float], wires_s: Sequence[tuple[Message, Message]]
) -> float:
    """Return the largest mean of a cycle of 1F1B, cycle by cycle: stages from one to another, and each way of a wire.

    Args:
        works_s: Forward, backward and copies of each stage.
        updates_s: The update of each stage.
        wires_s: The messages over each wire, down and up.
    """
    ways_s = [max(whole_s - latency_s for whole_s, latency_s in both) for both in wires_s]
    both_s = [sum(whole_s for whole_s, _ in both) for both in wires_s]
    cycles_s = [
        (updates_s[first] + sum(works_s[first : last + 1]) + sum(both_s[first:last])) / (last + 1 - first)
        for last in range(len(works_s))
        for first in range(last + 1)
    ]
    return max(*cycles_s, *ways_s) if ways_s else max(cycles_s)


def _message(sizes: tuple[int, ...], times_s: tuple[float, ...], size: int) -> Message:
    if not size:
        return NOTHING
    rising = np.maximum.accumulate(times_s)
    if size > sizes[-1]:
        slope = (rising[-1] - rising[-2]) / (sizes[-1] - sizes[-2])
        whole_s = float(rising[-1] + slope * (size - sizes[-1]))
    else:
        whole_s = float(np.interp(size, sizes, rising))
    return whole_s, float(rising[0])
