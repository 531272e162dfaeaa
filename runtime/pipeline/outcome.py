"""Put together what the stages of a run report: the run's result, and what each stage did a minibatch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from optimizer.plan import Plan
from optimizer.schedule import Action, Schedule, Span, makespan_s, throughput
from profiler.machine import this_machine
from runtime.pipeline.virtual_clock import on_virtual_clock, unrecorded_s
from runtime.results import RunResult, TrainingResult, is_comparable
from runtime.stage_run import ActionRecord
from runtime.worker import Checksums, Report, Settings


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a run, with checksums.

    Attributes:
        result: What is shown and kept of it.
        checksums: Of the minibatches, if they came from a loader.
        diverged: Whether any loss was no finite number.
    """

    result: RunResult
    checksums: Checksums
    diverged: bool


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
    last = reports[-1]
    further_s = unrecorded_s(schedule, runs) if virtual else _ended_s([last]) - last.run.actions[-1].end_s
    cores = len({report.physical_core for report in reports})
    spans = _spans(records)
    result = RunResult(
        plan=plan,
        batch_size=plan.batch_size,
        minibatches=schedule.minibatches,
        recorded_minibatches=schedule.listed,
        rule=settings.rule,
        channel=settings.channel,
        clock=settings.clock,
        core_count=cores,
        comparable=is_comparable(settings.clock, cores, len(reports)),
        throughput_samples_per_s=throughput(schedule, spans, plan.batch_size, further_s),
        makespan_s=makespan_s(spans) + further_s if virtual else _seconds(reports),
        losses=_finite(last.losses),
        last_loss=_finite([last.last_loss])[0],
        stages=tuple(replace(run, actions=actions) for run, actions in zip(runs, records, strict=True)),
        machine=this_machine(),
    )
    checksums = max((report.checksums for report in reports), key=lambda own: own[-1][0] if own else 0)
    return Outcome(result, checksums, any(report.diverged for report in reports))


def training_result(reports: Sequence[Report]) -> tuple[TrainingResult, int]:
    """Return what training gave, as far as it was trained on, and on how many parts of minibatches that was.

    The loss of a minibatch that was cut is the mean over its samples.
    """
    last = reports[-1]
    parts = last.stopped.trained if last.stopped else len(last.losses)
    losses: dict[int, float] = {}
    for loss, (share, _) in zip(last.losses[:parts], last.shares, strict=False):
        losses[share.minibatch] = losses.get(share.minibatch, 0.0) + share.part * loss
    result = TrainingResult(
        minibatches=len(losses),
        samples=sum(samples for _, samples in last.shares[:parts]),
        seconds=_seconds(reports),
        losses=_finite(list(losses.values())),
        stages=tuple(report.run.whole for report in reports),
    )
    return result, parts


def _seconds(reports: Sequence[Report]) -> float:
    """Return the time from the first action to the last."""
    return _ended_s(reports) - min(report.run.whole.began_s for report in reports)


def _ended_s(reports: Sequence[Report]) -> float:
    return max(report.run.whole.ended_s for report in reports)


def _finite(losses: Sequence[float]) -> tuple[float | None, ...]:
    return tuple(loss if math.isfinite(loss) else None for loss in losses)


def _spans(records: Sequence[Sequence[ActionRecord]]) -> list[list[Span]]:
    return [
        [Span(Action(stage, record.kind, record.minibatch), record.start_s, record.end_s) for record in actions]
        for stage, actions in enumerate(records)
    ]
