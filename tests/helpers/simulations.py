"""Simulate with one duration for all actions of a kind in a stage."""

from collections.abc import Sequence

from optimizer.schedule import Duration, Schedule, Span, durations_by_kind, simulate


def simulated(schedule: Schedule, stages: Sequence[Duration], *ways: Sequence[float]) -> list[list[Span]]:
    return simulate(schedule, durations_by_kind(schedule, stages), *ways)
