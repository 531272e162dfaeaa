"""Bound what any split can give: the slowest stage holds at least one part that no cut may separate.

    ceiling = lone ÷ max over parts p of Σ_{v ∈ p} least(v),    least(v) = weight(v) · alone(v) ÷ step(v)

where lone is what a step takes on one core while no other core is busy, and least(v) what layer v takes a minibatch,
updated in place where that is quicker, beside no busy core. A promise is told on the same base, and cut off at the
ceiling: a short run can seem quicker than its slowest stage, for that one's first forwards run ahead.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from optimizer.costs import NANOSECONDS, members_of
from optimizer.plan import Plan
from profiler.profile import Profile

if TYPE_CHECKING:
    from optimizer.planning import Planner

MOST_TIMES = 1.05
"""So many times one core is a stage worth at most: a little more, for costs are known so well only."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How many times as fast as one core any split can be at most, and the layers of the part that sets it."""

    times: float
    layers: tuple[str, ...]


def ceiling_of(planner: "Planner", alone: Profile) -> Ceiling:
    """Return what bounds any split, into however many stages, over what one core runs."""
    costs = planner.problem.costs
    least_s = []
    for layer, own_ns in zip(costs.layers, costs.least_ns, strict=True):
        known = layer.alone_s is not None and layer.step_s
        beside_none = min(1.0, (layer.alone_s or 0.0) / layer.step_s) if known else 1.0
        least_s.append(own_ns * beside_none / NANOSECONDS)
    parts = [members_of(members) for members, _ in costs.parts]
    sizes_s = [sum(least_s[at] for at in members) for members in parts]
    largest = max(range(len(parts)), key=sizes_s.__getitem__)
    times = alone.lone_core_s / max(sizes_s[largest], 1 / NANOSECONDS)
    return Ceiling(times, tuple(costs.layers[at].name for at in parts[largest]))


def cannot_be(plan: Plan, profile: Profile) -> bool:
    """Say whether a plan promises more than so many cores could give, for then its profile was too loud to tell."""
    times = plan.predicted.promised_samples_per_s * profile.lone_core_s / plan.batch_size
    comparable = not plan.network and plan.update_every == 1  # for one core updates after each minibatch
    return comparable and times > MOST_TIMES * plan.num_stages


def times_one_core(planner: "Planner", plan: Plan, alone: Profile) -> float:
    """Return how many times as fast as one core, while no other is busy, a plan is promised to be.

    Args:
        planner: What made it.
        plan: The plan.
        alone: Of what one core runs.
    """
    times = plan.predicted.promised_samples_per_s * alone.lone_core_s / plan.batch_size
    bounded = not plan.network  # whose ranks may be quicker than the profile's core
    return min(times, ceiling_of(planner, alone).times) if bounded else times
