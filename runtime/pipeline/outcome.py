"""Put together what the stages of a run report: the run's result, and what each stage did a minibatch."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from optimizer.plan import Plan
from optimizer.schedule import Action, Kind, Schedule, Span, makespan_s, simulate, throughput, unlisted_s
from profiler.machine import this_machine
from runtime.results import ActionRecord, RunResult, StageRun, TrainingResult, is_comparable
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

    spans = simulate(schedule.pace, schedule.stages, schedule.listed, took_s)
    return [tuple(_moved(records, row)) for records, row in zip(by_action, spans, strict=True)]


def unrecorded_s(schedule: Schedule, runs: Sequence[StageRun]) -> float:
    """Return what the minibatches that are not recorded would have taken with a core for every stage.

    A last round of updates that is not full counts as its share of a whole one.

    Args:
        schedule: What ran.
        runs: What each stage did.
    """
    if schedule.listed == schedule.minibatches:
        return 0.0
    means_s = [_mean_durations_s(schedule, run) for run in runs]
    spans = simulate(
        schedule.pace, schedule.stages, schedule.listed, lambda stage, kind, _minibatch: means_s[stage][kind]
    )
    return unlisted_s(schedule, spans)


def _mean_durations_s(schedule: Schedule, run: StageRun) -> dict[Kind, float]:
    """Return what an action of each kind took in the minibatches that are not recorded."""
    times, minibatches, every = run.whole, schedule.minibatches, schedule.pace.update_every
    whole_s: dict[Kind, float] = {
        "F": times.forward_s,
        "B": times.backward_s,
        "W": times.weights_s,
        "U": times.update_s,
    }
    done: dict[Kind, int] = {"F": minibatches, "B": minibatches, "W": minibatches, "U": math.ceil(minibatches / every)}
    recorded = Counter(record.kind for record in run.actions)
    for record in run.actions:
        whole_s[record.kind] -= record.end_s - record.start_s
    return {kind: max(0.0, whole_s[kind]) / (done[kind] - recorded[kind]) for kind in whole_s}


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
