"""Find the split of the smallest period over a network.

A period of B is kept if no cycle (``network``) has a larger mean. Let r_t be the largest excess of the cycles that end
at stage t,

    r_t = v_t − B + max( u_t, r_{t−1} + c_{t−1} ),

where a cycle either begins at t or comes from the stage before; B is kept if all r_t ≤ 0 and no link is busy for longer
than B. The smaller r is, the better for all that follows, so for one B

    r(I, t) = min over ideals J ⊂ I of  v_t(J, I) − B + max( u_t(J, I), r(J, t − 1) + c_{t−1}(J) )

is exact, O(S·|ideals|²), and the smallest B is found by bisection over integers. Among splits of that period the one is
taken whose cuts have the smallest excess, from the last one forward; other objectives are not looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optimizer.costs import Network, Problem
from optimizer.search.lattice import Booleans, Integers, Lattice, sums
from optimizer.search.stage_costs import StageCosts

MOST = 1_000
"""So many ideals are compared in pairs at most."""
UNREACHABLE = np.int64(1) << 60


@dataclass(frozen=True, slots=True)
class _Tables:
    """Every stage and cut, by pair of ideals ``[J, I]`` and by ideal; in nanoseconds.

    Attributes:
        works: v of each stage; likewise ``updates``, u.
        legal: Whether there may be such a stage.
        links: c of each cut, by ideal; ``busy`` is for how long either way is.
    """

    works: Sequence[Integers]
    updates: Sequence[Integers]
    legal: Sequence[Booleans]
    links: Sequence[Integers]
    busy: Sequence[Integers]


def best_over(problem: Problem, network: Network, lattice: Lattice) -> tuple[int, ...] | None:
    """Return the split of the smallest period as ideals, both ends included; None if none keeps to the limits."""
    tables = _tables(problem, network, lattice)
    low, high = problem.simple_bound_ns, int(UNREACHABLE) // 4
    best = _split(tables, high)
    if best is None:
        return None
    while low < high:
        middle = (low + high) // 2
        split = _split(tables, middle)
        if split is None:
            low = middle + 1
        else:
            best = split
            high = min(middle, problem.bottleneck_ns([lattice.ideals[at] for at in split]))
    return tuple(lattice.ideals[at] for at in best)


def _split(tables: _Tables, period: int) -> list[int] | None:
    """Return a split that keeps a period, as positions of ideals; None if there is none."""
    count = len(tables.links[0]) if tables.links else tables.works[0].shape[0]
    excess = np.full(count, UNREACHABLE)
    excess[0] = -UNREACHABLE  # nothing comes before the first stage
    origins = []
    for stage, (work, update, legal) in enumerate(zip(tables.works, tables.updates, tables.legal, strict=True)):
        incoming = excess + (tables.links[stage - 1] if stage else 0)
        cost = work - period + np.maximum(update, incoming[:, None])
        cost = np.where(legal & (excess < UNREACHABLE)[:, None], cost, UNREACHABLE)
        origins.append(cost.argmin(axis=0))
        excess = cost.min(axis=0)
        kept = excess <= 0
        if stage < len(tables.busy):
            kept &= tables.busy[stage] <= period
        excess = np.where(kept, excess, UNREACHABLE)
    if excess[-1] >= UNREACHABLE:
        return None
    places = [count - 1]
    for origin in reversed(origins):
        places.append(int(origin[places[-1]]))
    return places[::-1]


def _tables(problem: Problem, network: Network, lattice: Lattice) -> _Tables:
    everything, last = np.arange(len(lattice)), problem.stages - 1
    stage_costs = StageCosts(problem, lattice, [everything] * (problem.stages - 1))
    legal = [np.zeros((len(lattice), len(lattice)), dtype=bool) for _ in range(problem.stages)]
    for stage, (before, through) in enumerate(zip(stage_costs.bounds, stage_costs.bounds[1:], strict=False)):
        legal[stage][np.ix_(before, through)] = stage_costs.legal[stage]
    works, updates = [], []
    for stage in range(problem.stages):
        costs = problem.costs_at(stage)
        update = np.array(costs.update_ns) - (np.array(costs.saving_ns) if stage == last else 0)
        compute = np.array([costs.forward_ns, costs.backward_ns]).sum(axis=0)
        sums_ns = sums(lattice, np.stack([compute, update], axis=1).astype(np.int64))
        crossing = [costs.crossing(ideal) for ideal in lattice.ideals]
        down = np.array([sum(value.copy_output_ns for value in values) for values in crossing])
        up = np.array([sum(value.copy_gradient_ns for value in values) for values in crossing])
        key, height = sums_ns[:, 0] + down, sums_ns[:, 0] - up
        key[-1] += costs.loss_ns
        works.append(key[None, :] - height[:, None])
        updates.append(sums_ns[None, :, 1] - sums_ns[:, None, 1])
    messages = [
        [network.messages(cut, *problem.crossing_bytes(ideal)) for ideal in lattice.ideals] for cut in range(last)
    ]
    return _Tables(
        works=works,
        updates=updates,
        legal=legal,
        links=[np.array([down.whole_ns + up.whole_ns for down, up in cut]) for cut in messages],
        busy=[np.array([max(down.busy_ns, up.busy_ns) for down, up in cut]) for cut in messages],
    )
