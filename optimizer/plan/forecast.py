"""Predict a plan's throughput, makespan and memory under a schedule."""

from collections.abc import Sequence
from dataclasses import replace

from optimizer.plan.noise import eased, expected_throughput
from optimizer.plan.plan import Plan, Prediction, Stage
from optimizer.schedule import (
    Duration,
    Schedule,
    Span,
    by_kind,
    factors,
    makespan_s,
    simulate,
    throughput,
)
from profiler.report import counted


def scheduled(plan: Plan, schedule: Schedule) -> Plan:
    """Return the same split under another schedule or number of minibatches: what that gives, and what it holds."""
    crossing = [(0, 0), *((stage.sizes.activation_bytes, stage.sizes.gradient_bytes) for stage in plan.stages)]
    stages = []
    for number, stage in enumerate(plan.stages):
        factor, sizes = factors(schedule, number, plan.momenta), stage.sizes
        held = factor.held_bytes(
            sizes.frozen_bytes, sizes.learning_bytes, sizes.saved_bytes, sizes.left_bytes, sizes.cast_bytes
        )
        before = factor.slot_bytes(*crossing[number], factor.before)
        behind = factor.slot_bytes(*crossing[number + 1], factor.behind)
        in_place = schedule.pace.updates_in_place(last=number == schedule.stages - 1)
        update_s = stage.update_in_place_s if in_place else stage.update_beside_s
        accumulate_s, update_s = schedule.pace.price(stage.adding_s, stage.splitting_s, update_s)
        memory_bytes = held + before + behind + sizes.heap_bytes
        stages.append(replace(stage, accumulate_s=accumulate_s, update_s=update_s, memory_bytes=memory_bytes))
    stages = eased(stages, plan.neighbours)
    return replace(
        plan,
        schedule=schedule.pace.name,
        update_every=schedule.pace.update_every,
        held=schedule.pace.held,
        meets=schedule.pace.meets,
        stages=tuple(stages),
        predicted=predict(stages, plan.batch_size, schedule),
    )


def predict(stages: Sequence[Stage], batch_size: int, schedule: Schedule) -> Prediction:
    """Simulate a schedule."""
    spans = timeline(stages, schedule)
    steady = throughput(schedule, spans, batch_size)
    costs = by_kind(_durations([replace(stage, ease=1.0) for stage in stages], schedule))
    return Prediction(
        minibatches=schedule.minibatches,
        throughput_samples_per_s=steady,
        makespan_s=makespan_s(spans),
        expected=expected_throughput(stages, schedule, costs, steady),
    )


def timeline(stages: Sequence[Stage], schedule: Schedule) -> list[list[Span]]:
    """Return when each stage does what, if it is priced for the schedule."""
    durations = by_kind(_durations(stages, schedule))
    return simulate(schedule.pace, len(stages), schedule.minibatches, durations)


def _durations(stages: Sequence[Stage], schedule: Schedule) -> list[Duration]:
    splits = schedule.pace.rule.splits
    later = [max(0.0, stage.weight_gradients_s + stage.accumulate_s) if splits else 0.0 for stage in stages]
    return [
        Duration(
            (stage.forward_s + stage.send_forward_s) * stage.ease,
            (stage.backward_s + stage.accumulate_s - later_s + stage.send_backward_s) * stage.ease,
            stage.update_s * schedule.pace.update_every * stage.ease,
            later_s * stage.ease,
        )
        for stage, later_s in zip(stages, later, strict=True)
    ]


LEAST = 0.02
"""A smaller loss is not worth a sentence."""


def waiting_words(plan: Plan) -> str:
    """Return a sentence on what a plan gives up by waiting, and what would do; nothing where there is none."""
    pace, enough = plan.pace, 2 * len(plan.stages) - 1
    slowest_s = max(stage.total_s for stage in plan.stages)
    lost = 1 - plan.predicted.throughput_samples_per_s * slowest_s / plan.batch_size
    if not pace.rule.splits or lost < LEAST:
        return ""
    if pace.update_every < enough:
        return (
            f"with {counted(pace.update_every, 'minibatch')} an update, stages wait, which costs {lost:.0%} of the "
            f"throughput; {enough} or more keep them busy"
        )
    if pace.held < enough:
        return (
            f"for the limit on memory a stage holds {pace.held} minibatches between forward and weight gradients, "
            f"which costs {lost:.0%} of the throughput; {enough} keep all stages busy"
        )
    return ""
