"""Work a comparison out from its runs: medians, intervals, ratios, ranks and the audit."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from optimizer.plan import Plan, Stage
from runtime.compare.audit import audit
from runtime.compare.comparison import (
    ONE_CORE,
    BaselineComparison,
    Comparison,
    OneCore,
    PartitionComparison,
    StageComparison,
)
from runtime.compare.ranking import Ranking, Rounds, ranking, ratio_of, rounds_of, spread_of
from runtime.compare.records import RunRecord
from runtime.results import StageMeasurement


def summarised(comparison: Comparison, runs: Sequence[RunRecord]) -> Comparison:
    """Return the comparison with these runs, and everything that follows from them."""
    main = {name: rounds_of(runs, name) for name in comparison.contenders}
    reference = comparison.ours.ran_as
    one_core = _one_core(comparison, runs, main[ONE_CORE], main[reference])
    ranked = ranking({name: main[name] for name in comparison.splits}, reference)
    partitions = tuple(_partition(part, runs, main[part.ran_as], ranked) for part in comparison.partitions)
    return replace(
        comparison,
        runs=tuple(runs),
        partitions=partitions,
        order=ranked.order,
        one_core=one_core,
        baselines=tuple(
            _baseline(baseline, runs, main[baseline.row], main[reference]) for baseline in comparison.baselines
        ),
        audit=audit(
            partitions,
            comparison.request.batch_size,
            main,
            one_core.profiled_s,
            comparable=comparison.comparable,
        ),
    )


def _one_core(comparison: Comparison, runs: Sequence[RunRecord], rounds: Rounds, reference: Rounds) -> OneCore:
    one_core = comparison.one_core
    usual = comparison.request.batch_size / one_core.profiled_s if one_core.profiled_s else 0.0
    drifts = [usual / speed - 1 for speed in rounds.values()]
    return replace(
        one_core,
        throughput_samples_per_s=spread_of(list(rounds.values())),
        ratio=ratio_of(reference, rounds),
        drift=median(drifts) if drifts else None,
        foreign_load=max((run.foreign_load for run in runs if run.name == ONE_CORE), default=0.0),
        failures=tuple(run.failure for run in runs if run.name == ONE_CORE and run.failure is not None),
    )


def _partition(
    part: PartitionComparison, runs: Sequence[RunRecord], rounds: Rounds, ranked: Ranking
) -> PartitionComparison:
    name = part.ran_as
    measured = [run for run in runs if run.name == name and run.series == "main"]
    came_through = [run for run in measured if run.failure is None]
    slowed = [run.slowed_samples_per_s for run in came_through if run.slowed_samples_per_s is not None]
    alone = next((run for run in runs if run.name == name and run.series == "alone" and run.failure is None), None)
    return replace(
        part,
        throughput_samples_per_s=spread_of(list(rounds.values())),
        slowed_samples_per_s=median(slowed) if slowed else None,
        makespan_s=spread_of([run.makespan_s for run in came_through]),
        ratio=ranked.ratios.get(name),
        rank=ranked.ranks.get(name),
        failures=tuple(run.failure for run in measured if run.failure is not None),
        stages=tuple(
            _stage(
                part.plan, index, [run.stages[index] for run in came_through], alone.stages[index] if alone else None
            )
            for index in range(len(part.plan.stages) if came_through else 0)
        ),
    )


def _stage(
    plan: Plan, index: int, measurements: Sequence[StageMeasurement], alone: StageMeasurement | None
) -> StageComparison:
    planned = plan.stages[index]
    peaks = [own.peak_rss_bytes for own in measurements if own.peak_rss_bytes is not None]
    return StageComparison(
        predicted_s=planned.total_s,
        busy_s=median(own.work_s + own.send_s for own in measurements),
        measured=StageMeasurement(
            forward_s=median(own.forward_s for own in measurements),
            backward_s=median(own.backward_s for own in measurements),
            update_s=median(own.update_s for own in measurements),
            send_s=median(own.send_s for own in measurements),
            wait_s=median(own.wait_s for own in measurements),
            foreign_load=median(own.foreign_load for own in measurements),
            peak_rss_bytes=max(peaks) if peaks else None,
        ),
        alone_s=None if alone is None else _alone_s(plan, planned, alone),
        predicted_memory_bytes=planned.memory_bytes,
    )


def _alone_s(plan: Plan, planned: Stage, alone: StageMeasurement) -> float:
    """Return what a stage takes alone, where it updates after each minibatch, as if it did so as the plan does."""
    return alone.forward_s + alone.backward_s + planned.accumulate_s + alone.update_s / plan.update_every


def _baseline(
    baseline: BaselineComparison, runs: Sequence[RunRecord], rounds: Rounds, reference: Rounds
) -> BaselineComparison:
    return replace(
        baseline,
        throughput_samples_per_s=spread_of(list(rounds.values())),
        ratio=ratio_of(reference, rounds),
        failures=tuple(run.failure for run in runs if run.name == baseline.row and run.failure is not None),
    )
