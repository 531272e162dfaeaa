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
from runtime.pipeline.virtual_clock import on_virtual_clock
from runtime.results import ActionRecord, RunResult, StageMeasurement, StageRun, TrainingResult
from runtime.worker import MinibatchDigests, Settings, StageReport

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a run, with digests and checksums.

    Attributes:
        result: What is shown and kept of it.
        minibatch_digests: Those of each stage, if they were recorded.
        checksums: Of the minibatches, if they came from a loader.
    """

    result: RunResult
    minibatch_digests: list[tuple[MinibatchDigests, ...]]
    checksums: tuple[int, ...]


def outcome_of(plan: Plan, schedule: Schedule, reports: Sequence[StageReport], settings: Settings) -> Outcome:
    """Return what a run gave.

    Args:
        plan: Under the schedule that ran.
        schedule: What ran.
        reports: Those of the ranks.
        settings: How it ran.
    """
    measured = [report.report.actions for report in reports]
    virtual = settings.clock == "virtual"
    records = on_virtual_clock(schedule, measured) if virtual else measured
    spans = _spans(schedule, records)
    cores = len({report.physical_core for report in reports})
    slowdowns = [stage.slowdown for stage in plan.stages if stage.slowdown is not None]
    missing = virtual and cores < len(plan.stages) == len(slowdowns)
    beside = on_virtual_clock(schedule, measured, slowdowns) if missing else None
    layout, own = schedule.layout, [stamped.report for stamped in reports]
    losses = _in_turn([own[rank].losses for rank in layout.ranks(layout.stages - 1)])
    result = RunResult(
        plan=plan,
        batch_size=plan.batch_size,
        minibatches=schedule.minibatches,
        rule=settings.rule,
        channel=settings.channel,
        clock=settings.clock,
        core_count=cores,
        comparable=virtual or cores == len(reports),
        throughput_samples_per_s=throughput(spans, plan.batch_size, schedule.pace.update_every),
        slowed_samples_per_s=(
            throughput(_spans(schedule, beside), plan.batch_size, schedule.pace.update_every) if beside else None
        ),
        makespan_s=makespan_s(spans),
        losses=tuple(loss if math.isfinite(loss) else None for loss in losses),
        stages=tuple(
            _stage_run(layout, rank, report, actions)
            for rank, (report, actions) in enumerate(zip(reports, records, strict=True))
        ),
        machine=this_machine(),
    )
    digests = [
        tuple(_in_turn([own[rank].minibatch_digests for rank in layout.ranks(stage)])) for stage in range(layout.stages)
    ]
    return Outcome(result, digests, max((report.checksums for report in own), key=len))


def training_result(layout: RankLayout, reports: Sequence[StageReport], samples: int) -> TrainingResult:
    """Return what training over ``samples`` samples gave."""
    own = [stamped.report for stamped in reports]
    times = [report.times for report in own]
    seconds = max(each.ended_s for each in times) - min(each.began_s for each in times)
    losses = _in_turn([own[rank].losses for rank in layout.ranks(layout.stages - 1)])
    return TrainingResult(
        minibatches=len(losses),
        samples=samples,
        seconds=seconds,
        losses=tuple(loss if math.isfinite(loss) else None for loss in losses),
        stages=tuple(times),
    )


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
    report = stamped.report
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
            foreign_load=foreign_load(
                [record.end_s - record.start_s for record in actions], [record.cpu_s for record in actions]
            ),
            peak_rss_bytes=report.times.peak_rss_bytes,
        ),
        page_faults=median([faults[minibatch] for minibatch in sorted(faults)][minibatches // 2 :]),
        actions=actions,
    )
