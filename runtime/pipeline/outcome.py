"""Put together what the stages of a run report: the run's result, and what each stage did a minibatch."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from optimizer.plan import Plan
from optimizer.schedule import Action, Kind, Schedule, Span, makespan_s, simulate, throughput
from profiler.machine import this_machine
from runtime.results import ActionRecord, RunResult, TrainingResult, is_comparable
from runtime.worker import Checksums, Report, Settings


def on_virtual_clock(schedule: Schedule, stages: Sequence[Sequence[ActionRecord]]) -> list[tuple[ActionRecord, ...]]:
    """Return the actions of each stage as they would have run with a core for every stage; time starts at 0.

    Args:
        schedule: What ran.
        stages: The actions of each stage as measured, each alone on its core.
    """
    by_action = [{(record.kind, record.minibatch): record for record in records} for records in stages]

    def took_s(stage: int, kind: Kind, minibatch: int) -> float:
        record = by_action[stage][kind, minibatch]
        return record.end_s - record.start_s

    spans = simulate(schedule.pace, schedule.stages, schedule.minibatches, took_s)
    return [tuple(_moved(records, row)) for records, row in zip(by_action, spans, strict=True)]


def _moved(records: Mapping[tuple[Kind, int], ActionRecord], row: Sequence[Span]) -> Iterator[ActionRecord]:
    free_s = 0.0
    for span in row:
        record = records[span.action.kind, span.action.minibatch]
        copying_s = record.end_s - record.computed_s
        yield replace(
            record,
            wait_s=span.start_s - free_s,
            start_s=span.start_s,
            computed_s=max(span.start_s, span.end_s - copying_s),
            end_s=span.end_s,
        )
        free_s = span.end_s


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a run, with checksums.

    Attributes:
        result: What is shown and kept of it.
        checksums: Of the minibatches, if they came from a loader.
    """

    result: RunResult
    checksums: Checksums


def outcome_of(plan: Plan, schedule: Schedule, reports: Sequence[Report], settings: Settings) -> Outcome:
    """Return what a run gave.

    Args:
        plan: Under the schedule that ran.
        schedule: What ran.
        reports: Those of the stages.
        settings: How it ran.
    """
    runs = [report.run for report in reports]
    measured = [run.actions for run in runs]
    virtual = settings.clock == "virtual"
    records = on_virtual_clock(schedule, measured) if virtual else measured
    cores = len({report.physical_core for report in reports})
    spans = _spans(records)
    result = RunResult(
        plan=plan,
        batch_size=plan.batch_size,
        minibatches=schedule.minibatches,
        rule=settings.rule,
        channel=settings.channel,
        clock=settings.clock,
        core_count=cores,
        comparable=is_comparable(settings.clock, cores, len(reports)),
        throughput_samples_per_s=throughput(schedule, spans, plan.batch_size),
        makespan_s=makespan_s(spans) if virtual else _seconds(reports),
        losses=_finite(reports[-1].losses),
        stages=tuple(replace(run, actions=actions) for run, actions in zip(runs, records, strict=True)),
        machine=this_machine(),
    )
    checksums = max((report.checksums for report in reports), key=len)
    return Outcome(result, checksums)


def training_result(reports: Sequence[Report]) -> tuple[TrainingResult, int]:
    """Return what training gave, and on how many parts of minibatches that was.

    The loss of a minibatch that was cut is the mean over its samples.
    """
    last = reports[-1]
    losses: dict[int, float] = {}
    for loss, (share, _) in zip(last.losses, last.shares, strict=True):
        losses[share.minibatch] = losses.get(share.minibatch, 0.0) + share.part * loss
    result = TrainingResult(
        minibatches=len(losses),
        samples=sum(samples for _, samples in last.shares),
        seconds=_seconds(reports),
        losses=_finite(list(losses.values())),
        stages=tuple(report.run.whole for report in reports),
    )
    return result, len(last.losses)


def _seconds(reports: Sequence[Report]) -> float:
    """Return the time from the first action to the last."""
    times = [report.run.whole for report in reports]
    return max(own.ended_s for own in times) - min(own.began_s for own in times)


def _finite(losses: Sequence[float]) -> tuple[float | None, ...]:
    return tuple(loss if math.isfinite(loss) else None for loss in losses)


def _spans(records: Sequence[Sequence[ActionRecord]]) -> list[list[Span]]:
    return [
        [Span(Action(stage, record.kind, record.minibatch), record.start_s, record.end_s) for record in actions]
        for stage, actions in enumerate(records)
    ]
