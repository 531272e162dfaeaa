"""Predict a plan's throughput, makespan and memory under a schedule."""

from collections.abc import Sequence
from dataclasses import replace

from optimizer.plan.noise import relative_throughput, scaled
from optimizer.plan.plan import Plan, Prediction, Stage, StageBytes
from optimizer.schedule import (
    Duration,
    Message,
    Pace,
    Schedule,
    Span,
    StageRequirements,
    bubble_share,
    durations_by_kind,
    in_short,
    makespan_s,
    requirements_of,
    simulate,
    throughput,
    unlisted_s,
)


def memory_bytes_of(
    sizes: StageBytes, momenta: int, requirements: StageRequirements, before: tuple[int, int], behind: tuple[int, int]
) -> int:
    """Return memory(J, I, s) under any schedule, from what its stage holds.

    Args:
        sizes: The stage's bytes.
        momenta: How many tensors the update rule keeps for a parameter.
        requirements: What the schedule asks of the stage.
        before: Bytes of the slots between the stage and the one before, activations' and gradients'.
        behind: Likewise for the one behind.
    """
    learning = sizes.learning_bytes * (requirements.versions + 1 + momenta)
    return (
        sizes.frozen_bytes
        + learning
        + (sizes.saved_bytes - sizes.cast_bytes) * requirements.in_flight
        + sizes.cast_bytes * requirements.versions
        + sizes.transient_bytes
        + sum(before)
        + sum(behind)
    )


def scheduled(plan: Plan, schedule: Schedule) -> Plan:
    """Return the same split under another schedule or number of minibatches: what that gives, and what it holds."""
    requirements = requirements_of(schedule)
    slots = [
        (
            stage.sizes.activation_bytes * requirement.activation_slots,
            stage.sizes.gradient_bytes * requirement.gradient_slots,
        )
        for stage, requirement in zip(plan.stages, requirements, strict=True)
    ]
    stages = tuple(
        replace(
            paced(stage, schedule.pace, in_place=requirement.versions == 1),
            memory_bytes=memory_bytes_of(stage.sizes, plan.momenta, requirement, before, behind),
        )
        for stage, requirement, before, behind in zip(plan.stages, requirements, [(0, 0), *slots], slots, strict=False)
    )
    return replace(
        plan,
        schedule=schedule.pace.name,
        update_every=schedule.pace.update_every,
        stages=stages,
        predicted=predict(stages, plan.batch_size, schedule),
    )


def paced(stage: Stage, pace: Pace, *, in_place: bool) -> Stage:
    """Return a stage with what adding up gradients and updating come to a minibatch under a schedule."""
    every = pace.update_every
    update_s = stage.update_in_place_s if in_place else stage.update_beside_s
    return replace(stage, accumulate_s=stage.adding_s * (every - 1) / every, update_s=update_s / every)


def predict(stages: Sequence[Stage], batch_size: int, schedule: Schedule) -> Prediction:
    """Simulate a schedule; of a long run, what stands for it."""
    short = in_short(schedule)
    spans = timeline(stages, short)
    further_s = unlisted_s(short, spans)
    steady = throughput(short, spans, batch_size, further_s)
    durations = [(own.forward_s, own.backward_s, own.update_s) for own in _durations(stages, schedule)]
    return Prediction(
        minibatches=schedule.minibatches,
        throughput_samples_per_s=steady,
        makespan_s=makespan_s(spans) + further_s,
        bubble_share=bubble_share(short, spans, further_s),
        expected=scaled(relative_throughput(stages, schedule, durations, _messages(stages)), steady),
    )


def timeline(stages: Sequence[Stage], schedule: Schedule) -> list[list[Span]]:
    """Return when each stage does what, in stages that are priced for the schedule; all backwards of one take alike."""
    return simulate(schedule, durations_by_kind(schedule, _durations(stages, schedule)), *_messages(stages))


def _durations(stages: Sequence[Stage], schedule: Schedule) -> list[Duration]:
    return [
        Duration(
            (stage.forward_s + stage.send_forward_s) * stage.ease,
            (stage.backward_s + stage.accumulate_s + stage.send_backward_s) * stage.ease,
            stage.update_s * schedule.pace.update_every * stage.ease,
        )
        for stage in stages
    ]


def _messages(stages: Sequence[Stage]) -> tuple[list[Message], list[Message]]:
    """Return what messages take down to the next stage, and up from it."""
    return (
        [Message(stage.message_down_s, stage.latency_down_s) for stage in stages],
        [Message(stage.message_up_s, stage.latency_up_s) for stage in stages],
    )
