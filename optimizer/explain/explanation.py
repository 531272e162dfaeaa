"""Explain a plan: what fills its slowest stage, what bounds any plan, and what other cuts would cost."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from optimizer.costs import NANOSECONDS, Costs, Problem, members_of
from optimizer.plan import Plan
from optimizer.planning import Planner
from profiler.profile import Profile

FILLERS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Filler:
    """A layer and the share of its stage that it takes."""

    layer: str
    step_s: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One cut moved by one legal place: which layers change stage, and what that does to the plan."""

    cut: int
    direction: Literal["earlier", "later"]
    layers: tuple[str, ...]
    bottleneck_change_s: float
    sent_change_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """By how much another method's split is slower than the plan, and why."""

    method: str
    loss: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The explanation of a plan.

    Attributes:
        bottleneck_stage: The slowest stage, and its costliest layers.
        ceiling: The speed-up over one core that no split exceeds, whatever the number of stages.
        ceiling_layers: What sets it: the costliest layers that no cut may separate.
        ceiling_reason: Why it cannot be cut inside, if it is one layer; nothing where it can.
    """

    bottleneck_stage: int
    fillers: tuple[Filler, ...]
    speed_up: float
    ceiling: float
    ceiling_layers: tuple[str, ...]
    ceiling_reason: str
    moves: tuple[Move, ...]
    losses: tuple[Loss, ...]


def explain(
    planner: "Planner",
    plan: Plan,
    others: Mapping[str, Plan],
    planner_of: "Callable[[str], Planner] | None" = None,
    alone: Profile | None = None,
) -> Explanation:
    """Explain the planner's best plan.

    Args:
        planner: What made it.
        plan: The plan.
        others: The plans of schemes and of other planners, by name.
        planner_of: Returns what made one of these; None: the same planner.
        alone: Of what one core runs; None: of the same model.
    """
    alone = alone or planner.profile
    problem, bounds = planner.problem, planner.best.bounds
    slowest = max(range(len(plan.stages)), key=lambda number: plan.stages[number].total_s)
    ceiling = ceiling_of(planner, alone)
    reasons = {
        layer.name: layer.uncuttable or ("" if layer.features else "its profile does not tell of features")
        for layer in planner.profile.layers
    }
    return Explanation(
        bottleneck_stage=slowest,
        fillers=tuple(_fillers(plan, slowest, planner)),
        speed_up=times_one_core(planner, plan, alone),
        ceiling=ceiling.times,
        ceiling_layers=ceiling.layers,
        ceiling_reason=reasons[ceiling.layers[0]] if len(ceiling.layers) == 1 else "they have to stay together",
        moves=tuple(_moves(problem, bounds)),
        losses=tuple(
            _loss(name, plan, other, planner_of(name) if planner_of else planner) for name, other in others.items()
        ),
    )


def _fillers(plan: Plan, stage: int, planner: "Planner") -> Iterator[Filler]:
    inside = set(plan.stages[stage].layers)
    pairs = zip(planner.costs.layers, planner.costs.weights_ns(), strict=True)
    costs_s = {layer.name: own_ns / NANOSECONDS for layer, own_ns in pairs if layer.name in inside}
    whole_s = plan.stages[stage].total_s or 1.0
    for name in sorted(costs_s, key=lambda name: -costs_s[name])[:FILLERS]:
        yield Filler(layer=name, step_s=costs_s[name], share=costs_s[name] / whole_s)


def _moves(problem: Problem, bounds: Sequence[int]) -> Iterator[Move]:
    """Yield, for each cut that was not forced, the best move of one block towards either end that keeps the limits."""
    limit = problem.memory_limit_bytes
    before_ns, before_bytes = problem.bottleneck_ns(bounds), _sent(problem.costs, bounds)
    for cut in range(1, len(bounds) - 1):
        if bounds[cut] in problem.forced:
            continue
        ways: list[tuple[Literal["earlier", "later"], list[int]]] = [
            ("earlier", _smaller(problem, bounds[cut], bounds[cut - 1])),
            ("later", _larger(problem, bounds[cut], bounds[cut + 1])),
        ]
        for direction, places in ways:
            splits = [[*bounds[:cut], place, *bounds[cut + 1 :]] for place in places]
            splits = [split for split in splits if limit is None or max(problem.memory_bytes(split)) <= limit]
            ranked = sorted((problem.bottleneck_ns(split), _sent(problem.costs, split), split[cut]) for split in splits)
            if ranked:
                bottleneck_ns, sent, place = ranked[0]
                yield Move(
                    cut=cut,
                    direction=direction,
                    layers=tuple(problem.costs.layers[at].name for at in members_of(place ^ bounds[cut])),
                    bottleneck_change_s=(bottleneck_ns - before_ns) / NANOSECONDS,
                    sent_change_bytes=sent - before_bytes,
                )


def _smaller(problem: Problem, ideal: int, least: int) -> list[int]:
    """Return the ideals directly below ``ideal`` that hold more than ``least``."""
    needed = 0
    for members, needs in problem.parts:
        needed |= needs if members & ideal else 0
    smaller = [ideal & ~members for members, _ in problem.parts if members & ideal and not members & needed]
    return [below for below in smaller if least & ~below == 0 and below != least]


def _larger(problem: Problem, ideal: int, most: int) -> list[int]:
    """Return the ideals directly above ``ideal`` that hold less than ``most``."""
    larger = [ideal | members for members, needs in problem.parts if not members & ideal and needs & ~ideal == 0]
    return [above for above in larger if above & ~most == 0 and above != most]


def _sent(costs: Costs, bounds: Sequence[int]) -> int:
    return sum(value.output_bytes + value.gradient_bytes for ideal in bounds[1:-1] for value in costs.crossing(ideal))


def _loss(method: str, plan: Plan, other: Plan, planner: "Planner") -> Loss:
    """Return by how much another split is slower, and the reason in words."""
    loss = other.bottleneck_s / plan.bottleneck_s - 1 if plan.bottleneck_s else 0.0
    slowest = max(range(len(other.stages)), key=lambda number: other.stages[number].total_s)
    whole_s = sum(stage.total_s for stage in other.stages) or 1.0
    share = other.stages[slowest].total_s / whole_s
    fillers = list(_fillers(other, slowest, planner))[:2]
    listed = " and ".join(f"{filler.layer} ({filler.share:.0%})" for filler in fillers)
    reason = (
        f"stage {slowest} has {len(other.stages[slowest].layers)} of {sum(map(len, other.split))} layers and "
        f"{share:.0%} of the time, led by {listed}"
    )
    over = [
        number
        for number, stage in enumerate(other.stages)
        if stage.memory_bytes > (plan.memory_limit_bytes or stage.memory_bytes)
    ]
    if over:
        reason += f"; stage {over[0]} is over the limit on memory"
    return Loss(method=method, loss=loss, reason=reason)


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
    """Say whether a plan promises more than a core for each stage could give: its profile was too loud to tell.

    Never of a plan over a network, or of one that updates less often than one core does: these cannot be compared.
    """
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
