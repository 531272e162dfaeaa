"""Put a split together as a plan: what each stage costs and needs, and what the simulated schedule gives."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from optimizer.costs import NANOSECONDS, Problem, Rounds, members_of, names_of
from optimizer.plan import Plan, Prediction, Stage, StageBytes, scheduled
from optimizer.schedule import schedule_of
from optimizer.search import Solution, bottleneck_ns
from profiler.profile import CopyCost, Profile


def plan_of(
    profile: Profile,
    problem: Problem,
    bounds: Sequence[int],
    best: Solution,
    *,
    method: str,
    rounds: Rounds,
    link: CopyCost | None = None,
) -> Plan:
    """Return the plan of a split.

    Args:
        profile: What the problem's costs come from.
        problem: What had to be kept to.
        bounds: The split, both ends included.
        best: The best split of the same problem, which says how good this one is.
        method: How the split was found.
        rounds: How unsteady the model's layers were, and what they take beside none.
        link: The network that the problem's costs are over, if they are.
    """
    pace = problem.costs.pace
    stages = tuple(_stage(problem, index, ends) for index, ends in enumerate(pairwise(bounds)))
    stages = tuple(
        replace(
            stage,
            alone=rounds.alone(stage.layers, last=index == problem.stages - 1),
            noise=rounds.factors(stage.layers, last=index == problem.stages - 1),
        )
        for index, stage in enumerate(stages)
    )
    unpriced = Plan(
        model=profile.model,
        model_digest=profile.model_digest,
        batch_size=profile.batch_size,
        input_shape=profile.input_shape,
        classes=profile.classes,
        vocabulary=profile.vocabulary,
        slicing=profile.slicing,
        precision=profile.precision,
        method=method,
        schedule=pace.name,
        update_every=pace.update_every,
        held=pace.held,
        meets=pace.meets,
        planned_for=pace,
        momenta=problem.costs.momenta,
        stages=stages,
        bottleneck_s=bottleneck_ns(problem, bounds) / NANOSECONDS,
        predicted=Prediction(minibatches=problem.minibatches, throughput_samples_per_s=0.0, makespan_s=0.0),
        lower_bound_s=best.lower_bound_ns / NANOSECONDS,
        memory_limit_bytes=problem.memory_limit_bytes,
        cut_after=tuple(tuple(names_of(problem.costs, ideal)) for ideal in problem.forced),
        neighbours=profile.neighbours,
        link=link,
    )
    return scheduled(unpriced, schedule_of(pace, len(stages), problem.minibatches))


def _stage(problem: Problem, index: int, ends: tuple[int, int]) -> Stage:
    """Return a stage without what the schedule says: what updates cost a minibatch, and what it holds."""
    before, through = ends
    costs, members = problem.costs, members_of(through & ~before)
    last = index == problem.stages - 1
    forward_ns = sum(costs.forward_ns[at] for at in members) + (costs.loss_forward_ns if last else 0)
    backward_ns = sum(costs.backward_ns[at] for at in members) + (costs.loss_backward_ns if last else 0)
    beside_ns, in_place_ns = (sum(times[at] for at in members) for times in (costs.beside_ns, costs.in_place_ns))
    (activation_bytes, gradient_bytes), (_, back_bytes) = costs.crossing_bytes(through), costs.crossing_bytes(before)
    frozen, learning, saved, left, casts = costs.bytes_of(members)
    return Stage(
        layers=tuple(costs.layers[at].name for at in members),
        forward_s=forward_ns / NANOSECONDS,
        backward_s=backward_ns / NANOSECONDS,
        weight_gradients_s=sum(costs.weight_gradients_ns[at] for at in members) / NANOSECONDS,
        accumulate_s=0.0,
        adding_s=sum(costs.adding_ns[at] for at in members) / NANOSECONDS,
        splitting_s=sum(costs.splitting_ns[at] for at in members) / NANOSECONDS,
        update_s=0.0,
        update_beside_s=beside_ns / NANOSECONDS,
        update_in_place_s=in_place_ns / NANOSECONDS,
        send_forward_s=costs.sending_ns(activation_bytes) / NANOSECONDS,
        send_backward_s=costs.sending_ns(back_bytes) / NANOSECONDS,
        send_bytes=activation_bytes + back_bytes,
        boundary=tuple(value.name for value in costs.crossing(through)),
        memory_bytes=0,
        sizes=StageBytes(
            frozen_bytes=frozen,
            learning_bytes=learning,
            saved_bytes=saved,
            left_bytes=left,
            cast_bytes=casts,
            heap_bytes=costs.heap_bytes,
            activation_bytes=activation_bytes,
            gradient_bytes=gradient_bytes,
        ),
    )
