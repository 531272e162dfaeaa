"""Bound what any split can give: the slowest stage holds at least one part that no cut may separate.

    ceiling = lone ÷ max over parts p of Σ_{v ∈ p} least(v),    least(v) = weight(v) · alone(v) ÷ step(v)

where lone is what a step takes on one core while no other core is busy, and least(v) what layer v takes a minibatch,
updated in place where that is quicker, beside no busy core. A promise is told on the same base, and cut off at the
ceiling: a short run can seem quicker than its slowest stage, for that one's first forwards run ahead.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from optimizer.costs import NANOSECONDS, Crowding, members_of
from optimizer.plan import Plan

if TYPE_CHECKING:
    from optimizer.planning import Planner


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How many times as fast as one core any split can be at most, and the layers of the part that sets it."""

    times: float
    layers: tuple[str, ...]


def ceiling_of(planner: "Planner") -> Ceiling:
    """Return what bounds any split, into however many stages."""
    costs, crowding = planner.problem.costs, Crowding(planner.profile)
    least_s = []
    for layer, weight_ns, saving_ns in zip(costs.layers, costs.weight_ns, costs.saving_ns, strict=True):
        alone = min(1.0, crowding.alone_s(layer.name) / layer.step_s) if layer.step_s else 1.0
        least_s.append((weight_ns - max(0, saving_ns)) * alone / NANOSECONDS)
    parts = [members_of(members) for members, _ in costs.parts]
    sizes_s = [sum(least_s[at] for at in members) for members in parts]
    largest = max(range(len(parts)), key=sizes_s.__getitem__)
    times = planner.profile.lone_core_s / max(sizes_s[largest], 1 / NANOSECONDS)
    return Ceiling(times, tuple(costs.layers[at].name for at in parts[largest]))


def times_one_core(planner: "Planner", plan: Plan) -> float:
    """Return how many times as fast as one core, while no other is busy, a plan is promised to be."""
    times = plan.predicted.promised_samples_per_s * planner.profile.lone_core_s / plan.batch_size
    bounded = not plan.network  # whose ranks may be quicker than the profile's core
    return min(times, ceiling_of(planner).times) if bounded else times
