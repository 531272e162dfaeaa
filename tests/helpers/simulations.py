"""Simulate with one duration for all actions of a kind in a stage."""

from collections.abc import Sequence

from optimizer.schedule import Action, Duration, Schedule, Span, by_kind, simulate


def simulated(schedule: Schedule, stages: Sequence[Duration]) -> list[list[Span]]:
    return simulate(schedule.pace, schedule.stages, schedule.minibatches, by_kind(stages))


def orders(spans: Sequence[Sequence[Span]]) -> list[list[Action]]:
    """What each stage did, in order."""
    return [[span.action for span in row] for row in spans]
