"""How far errors of measurement could change a plan: resample the profile's rounds, and plan again.

Rounds of measurement are drawn with replacement, the same ones for all layers, for a slow round is slow everywhere, and
medians are taken again (a bootstrap). Copies and memory stay as they are. For every draw r,

    regret(r) = bottleneck of the plan under r ÷ smallest bottleneck under r − 1.

A layer matters by the regret that its time alone at either end of its interval would bring.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 6 and 13.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from optimizer.costs import NANOSECONDS, Costs, Problem
from optimizer.search import (
    FEW,
    Bound,
    Integers,
    Lattice,
    all_stage_costs,
    smallest,
    smallest_maximum,
    sums,
    time_potentials,
)
from profiler.profile import ModelCosts, Timing

Floats = NDArray[np.float64]
DRAWS, DRAWS_OF_MANY = 200, 40
EXAMINED, EXAMINED_OF_MANY = 24, 8
"""So many of the layers with the widest intervals are looked at one by one."""
MOST_IDEALS = 50_000
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubtful:
    """A layer whose time is uncertain: half the width of its interval, and the regret at the worse end of it."""

    layer: str
    half_width_s: float
    regret: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """How a plan does over many draws of the costs.

    Attributes:
        draws: How many.
        stays_best: The share of draws in which no split is faster.
        expected_regret: By how much the best split is faster on average, as a share.
        regret_95: What that share stays below in 95% of the draws.
        layers: Those whose uncertainty matters most, the worst first.
    """

    draws: int
    stays_best: float
    expected_regret: float
    regret_95: float
    layers: tuple[Doubtful, ...]


def confidence(problem: Problem, lattice: Lattice, bounds: Sequence[int], model: ModelCosts) -> Confidence | None:
    """Return how sure the split ``bounds`` is, or None where the profile has no samples or ideals are too many.

    With many ideals, each draw takes a pass over all of them, so there are fewer draws; under a limit on memory such a
    pass finds a bound only, so then there are none.
    """
    few = len(lattice) <= FEW
    if not few and (len(lattice) > MOST_IDEALS or problem.memory_limit_bytes is not None):
        return None
    draws, examined = (DRAWS, EXAMINED) if few else (DRAWS_OF_MANY, EXAMINED_OF_MANY)
    spread = _spread(model, problem.costs, draws)
    if spread is None:
        return None
    replan = _Replan(problem, lattice, bounds)
    drawn, widths_s, medians = spread
    regrets = replan.regrets(drawn)
    order = sorted(range(len(model.layers)), key=lambda at: -widths_s[at])[:examined]
    ends = np.repeat(medians[:, None], 2 * len(order), axis=1)
    for number, at in enumerate(order):
        ends[at, 2 * number] = max(0.0, ends[at, 2 * number] - widths_s[at])
        ends[at, 2 * number + 1] += widths_s[at]
    alone = replan.regrets(ends).reshape(-1, 2).max(axis=1)
    layers = [
        Doubtful(layer=model.layers[at].name, half_width_s=float(widths_s[at]), regret=float(regret))
        for at, regret in zip(order, alone, strict=True)
    ]
    return Confidence(
        draws=len(regrets),
        stays_best=float(np.mean(regrets <= 0)),
        expected_regret=float(np.mean(regrets)),
        regret_95=float(np.quantile(regrets, 0.95)),
        layers=tuple(sorted(layers, key=lambda layer: (-layer.regret, -layer.half_width_s))),
    )


class _Replan:
    """The same lattice under other times."""

    def __init__(self, problem: Problem, lattice: Lattice, bounds: Sequence[int]) -> None:
        self._found, self._stages = lattice, problem.stages
        self._stage_costs = all_stage_costs(problem, lattice) if len(lattice) <= FEW else None
        places = {ideal: at for at, ideal in enumerate(lattice.ideals)}
        self._bounds = [places[ideal] for ideal in bounds]
        self._loss_ns = problem.costs.loss_ns

    def regrets(self, step_s: Floats) -> Floats:
        """Return the regret under each draw of the layers' times, ``[layer, draw]``."""
        work_ns = sums(self._found, np.rint(step_s * NANOSECONDS).astype(np.int64))
        work_ns[-1] += self._loss_ns
        return np.array([self._regret(work_ns[:, draw]) for draw in range(work_ns.shape[1])])

    def _regret(self, work_ns: Integers) -> float:
        lattice = self._found
        keys, heights = time_potentials(lattice, self._stages, work_ns)
        own = max(
            int(key[through] - height[before])
            for key, height, (before, through) in zip(keys, heights, pairwise(self._bounds), strict=True)
        )
        if self._stage_costs:
            best = int(smallest_maximum(self._stage_costs.differences(keys, heights)))
        else:
            low = int(work_ns[-1] - (lattice.saving_ns[-1] - lattice.saving_ns.min())) // self._stages
            best = smallest(lattice, Bound(keys, heights, own), min(low, own)) or own
        return own / best - 1 if best else 0.0


def _spread(model: ModelCosts, costs: Costs, draws: int) -> tuple[Floats, Floats, Floats] | None:
    """Return draws of the layers' times ``[layer, draw]``, half the widths of their intervals, and their medians."""
    timings = [[layer.forward, layer.backward, layer.update] for layer in model.layers]
    costs_s = [[layer.forward_s, layer.backward_s, layer.update_s] for layer in model.layers]
    samples = [
        [_around(timing, cost_s) for timing, cost_s in zip(row, own, strict=True)]
        for row, own in zip(timings, costs_s, strict=True)
    ]
    if not all(any(row) for row in timings):
        return None
    medians = np.array(costs.weight_ns) / NANOSECONDS
    drawing = np.random.default_rng(SEED)
    rounds = {len(timing.samples_s) for row in timings for timing in row if timing}
    if min(rounds) < 2:
        return None
    chosen = {count: drawing.integers(0, count, (draws, count)) for count in sorted({1, *rounds})}
    counted = [
        (1.0, 1.0, update_ns / beside_ns if beside_ns else 0.0)  # forward, backward, and the share of an update
        for update_ns, beside_ns in zip(costs.update_ns, costs.beside_ns, strict=True)
    ]
    drawn = np.array(
        [
            sum(share * np.median(own[chosen[len(own)]], axis=1) for share, own in zip(shares, row, strict=True))
            for shares, row in zip(counted, samples, strict=True)
        ]
    )
    drawn += np.array(costs.accumulate_ns)[:, None] / NANOSECONDS
    low, high = np.quantile(drawn, [0.025, 0.975], axis=1)
    return drawn, (high - low) / 2, medians


def _around(timing: Timing | None, cost_s: float) -> Floats:
    """Return the samples of a time with its cost, which is estimated from shares, as their median."""
    samples = np.array(timing.samples_s) if timing else np.array([0.0])
    middle = float(np.median(samples)) if len(samples) else 0.0
    return samples * (cost_s / middle) if middle else samples
