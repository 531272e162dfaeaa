"""Put together what the stages of a run report: the run's result, and what each stage did a minibatch."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from optimizer.plan import Plan
from optimizer.schedule import KIND_NAMES, Kind, RankLayout, Schedule, Span, makespan_s, throughput
from profiler.machine import this_machine
from profiler.measure import foreign_load
from runtime.pipeline.virtual_clock import on_virtual_clock, unrecorded_s
from runtime.results import ActionRecord, RunResult, StageMeasurement, StageRun, TrainingResult, is_comparable
from runtime.worker import Checksums, MinibatchDigests, Report, Settings, StageReport

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a run, with digests and checksums.

    Attributes:
        result: What is shown and kept of it.
        minibatch_digests: Those of each stage, if they were recorded.
        checksums: Of the minibatches, if they came from a loader.
        diverged: Whether any loss was no finite number.
    """

    result: RunResult
    minibatch_digests: list[tuple[MinibatchDigests, ...]]
    checksums: Checksums
    diverged: bool


def outcome_of(plan: Plan, schedule: Schedule, reports: Sequence[StageReport], settings: Settings) -> Outcome:
    """Return what a run gave.

    Args:
        plan: Under the schedule that ran.
        schedule: What ran.
        reports: Those of the ranks.
        settings: How it ran.
    """
    own = [stamped.report for stamped in reports]
    measured = [report.actions for report in own]
    virtual = settings.clock == "virtual"
    records = on_virtual_clock(schedule, measured) if virtual else measured
    layout = schedule.layout
    last = [own[rank] for rank in layout.ranks(layout.stages - 1)]
    recorded_s = max(report.actions[-1].end_s for report in last)
    further_s = unrecorded_s(schedule, own) if virtual else _ended_s(last) - recorded_s
    cores = len({report.physical_core for report in reports})
    slowdowns = [stage.slowdown for stage in plan.stages if stage.slowdown is not None]
    missing = virtual and cores < len(plan.stages) == len(slowdowns)
    slowed: float | None = None
    if missing:
        beside = _spans(schedule, on_virtual_clock(schedule, measured, slowdowns))
        slowed = throughput(schedule, beside, plan.batch_size, unrecorded_s(schedule, own, slowdowns))
    spans = _spans(schedule, records)
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
        slowed_samples_per_s=slowed,
        makespan_s=makespan_s(spans) + further_s if virtual else _seconds(own),
        losses=_finite(_in_turn([report.losses for report in last])),
        last_loss=_finite([last[(schedule.minibatches - 1) % len(last)].last_loss])[0],
        stages=tuple(
            _stage_run(layout, rank, report, actions)
            for rank, (report, actions) in enumerate(zip(reports, records, strict=True))
        ),
        machine=this_machine(),
    )
    digests = [
        tuple(_in_turn([own[rank].minibatch_digests for rank in layout.ranks(stage)])) for stage in range(layout.stages)
    ]
    checksums = max((report.checksums for report in own), key=lambda own: own[-1][0] if own else 0)
    return Outcome(result, digests, checksums, any(report.diverged for report in own))


def training_result(layout: RankLayout, reports: Sequence[StageReport], samples: int) -> TrainingResult:
    """Return what training over ``samples`` samples gave."""
    own = [stamped.report for stamped in reports]
    losses = _in_turn([own[rank].losses for rank in layout.ranks(layout.stages - 1)])
    return TrainingResult(
        minibatches=len(losses),
        samples=samples,
        seconds=_seconds(own),
        losses=_finite(losses),
        stages=tuple(report.times for report in own),
    )


def _seconds(reports: Sequence[Report]) -> float:
    """Return the time from the first action to the last."""
    return _ended_s(reports) - min(report.times.began_s for report in reports)


def _ended_s(reports: Sequence[Report]) -> float:
    return max(report.times.ended_s for report in reports)


def _finite(losses: Sequence[float]) -> tuple[float | None, ...]:
    return tuple(loss if math.isfinite(loss) else None for loss in losses)


def _spans(schedule: Schedule, records: Sequence[Sequence[ActionRecord]]) -> list[list[Span]]:
    return [
        [Span(action, record.start_s, record.end_s) for action, record in zip(row, actions, strict=True)]
        for row, actions in zip(schedule.rows, records, strict=True)
    ]


def _in_turn(by_replica: Sequence[Sequence[T]]) -> list[T]:
    """Return what a stage's replicas have, in the order of the minibatches, which they have in turn."""
    return [
        by_replica[number % len(by_replica)][number // len(by_replica)] for number in range(sum(map(len, by_replica)))
    ]


def _stage_run(layout: RankLayout, rank: int, stamped: StageReport, actions: tuple[ActionRecord, ...]) -> StageRun:
    whole = stamped.report.times
    minibatches = sum(record.kind == "F" for record in actions)
    work: dict[Kind, float] = {}
    busy_s = send_s = 0.0
    for kind in KIND_NAMES:
        records = [record for record in actions if record.kind == kind]
        times = len(records) / minibatches  # updates are rarer with a flush
        copies_s = [record.end_s - record.computed_s for record in records]
        work[kind] = times * median(
            [max(0.0, record.cpu_s - copy_s) for record, copy_s in zip(records, copies_s, strict=True)]
        )
        busy_s += times * median([record.cpu_s for record in records])
        send_s += times * median(copies_s)
    faults: Counter[int] = Counter()
    for record in actions:
        faults[record.minibatch] += record.page_faults
    return StageRun(
        stage=layout.stage_of(rank),
        replica=layout.replica_of(rank),
        minibatches=minibatches,
        host=stamped.host,
        core=stamped.core,
        clock_error_s=stamped.clock_error_s,
        busy_s=busy_s,
        measured=StageMeasurement(
            forward_s=work["F"],
            backward_s=work["B"],
            update_s=work["U"],
            send_s=send_s,
            wait_s=sum(record.wait_s for record in actions) / minibatches,
            foreign_load=foreign_load([whole.forward_s, whole.backward_s, whole.update_s], [whole.cpu_s]),
            peak_rss_bytes=whole.peak_rss_bytes,
        ),
        page_faults=median([faults[minibatch] for minibatch in sorted(faults)][minibatches // 2 :]),
        actions=actions,
    )
