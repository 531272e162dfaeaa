"""Find the best split of a model: exactly over all ideals where they can be enumerated, else along captured order.

With few ideals every one of them is a candidate for every cut. With many, ``reach`` first finds the smallest bottleneck
and leaves only those that a split of this bottleneck can be cut at; the tie-breaks are decided among these. Should even
they be too many to compare in pairs, a split of the smallest bottleneck is returned and the tie-breaks are let go.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from optimizer.costs import Costs
from optimizer.ideals import members_of, rank
from optimizer.lattice import Lattice, along_captured_order, arcs, lattice
from optimizer.reach import Reach, reach, smallest_bottleneck
from optimizer.search import NEVER, best_chain

FEW = 700
"""With so few ideals, comparing all pairs is quicker than leaving some out first."""
MOST_PAIRS = 6_000_000
"""Pairs of candidates of neighbouring cuts that are compared at most, all cuts together: 48 megabytes."""


@dataclass(frozen=True, slots=True)
class Solution:
    """The best split that was found.

    Attributes:
        bounds: ∅ ⊂ I₁ ⊂ … ⊂ V as sets of layers.
        lower_bound_ns: No legal split has a smaller bottleneck.
        proven: Whether all ideals were searched.
        ideals: How many ideals were searched.
    """

    bounds: tuple[int, ...]
    lower_bound_ns: int
    proven: bool
    ideals: int


def solve(costs: Costs, stages: int) -> Solution | None:
    """Return the best split into ``stages`` stages, or None if there is none."""
    every = lattice(costs)
    found = every or along_captured_order(costs)
    if len(found) <= FEW:
        everything = np.array(sorted(range(1, len(found) - 1), key=lambda at: rank(found.ideals[at])), dtype=np.int64)
        bounds = _chain(found, [everything] * (stages - 1))
    else:
        bounds = _reduced(costs, found, stages)
    if bounds is None:
        return None
    bottleneck_ns = max(map(costs.stage_ns, bounds, bounds[1:]))
    lower_bound_ns = bottleneck_ns if every else simple_bound_ns(costs, stages)
    return Solution(bounds=bounds, lower_bound_ns=lower_bound_ns, proven=every is not None, ideals=len(found))


def simple_bound_ns(costs: Costs, stages: int) -> int:
    """Return max(total ÷ stages, largest block), which no split can fall below."""
    weight_ns = costs.weight_ns
    blocks_ns = [sum(weight_ns[position] for position in members_of(members)) for members, _ in costs.parts]
    return max(-(-(sum(blocks_ns) + costs.loss_ns) // stages), *blocks_ns)


def _reduced(costs: Costs, found: Lattice, stages: int) -> tuple[int, ...] | None:
    ceiling = int(found.work_ns[-1] + found.down_ns.max() + found.up_ns.max())
    bottleneck = smallest_bottleneck(found, stages, simple_bound_ns(costs, stages), ceiling)
    if bottleneck is None:
        return None
    left = reach(found, stages, bottleneck)
    candidates = [left.at_cut(cut) for cut in range(1, stages)]
    sizes = [1, *map(len, candidates), 1]
    if sum(one * other for one, other in pairwise(sizes)) > MOST_PAIRS:
        return _any_chain(found, left, stages, bottleneck)
    ranked = [np.array(sorted(cut, key=lambda at: rank(found.ideals[at])), dtype=np.int64) for cut in candidates]
    return _chain(found, ranked)


def _chain(found: Lattice, candidates: Sequence[NDArray[np.int64]]) -> tuple[int, ...] | None:
    ends = [np.array([0]), *candidates, np.array([len(found) - 1])]
    costs = [arcs(found, before, through, int(NEVER)) for before, through in pairwise(ends)]
    places = best_chain(costs, [found.cut_bytes[cut] for cut in candidates])
    if places is None:
        return None
    cuts = [found.ideals[cut[place]] for cut, place in zip(candidates, places, strict=True)]
    return (0, *cuts, found.ideals[-1])


def _any_chain(found: Lattice, left: Reach, stages: int, bottleneck: int) -> tuple[int, ...]:
    """Walk back from V: at each cut, the first ideal below that can stand there and is high enough."""
    bounds = [len(found) - 1]
    for cut in range(stages - 1, -1, -1):
        here = bounds[-1]
        needed = found.work_ns[here] + found.down_ns[here] - bottleneck
        high = left.at_cut(cut)
        high = high[(found.work_ns - found.up_ns)[high] >= needed]
        bounds.append(next(int(at) for at in high if found.ideals[at] & ~found.ideals[here] == 0 and at != here))
    return tuple(found.ideals[at] for at in reversed(bounds))
