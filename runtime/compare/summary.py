"""Work a comparison out from its runs: medians, intervals, ratios, ranks and the audit."""

from collections.abc import Sequence
from statistics import median

from optimizer.plan import Plan
from runtime.baselines import Baseline
from runtime.compare.audit import audit
from runtime.compare.outcome import (
    BaselineComparison,
    OneCoreComparison,
    PartitionComparison,
    StageComparison,
    Summary,
)
from runtime.compare.ranking import Ranking, Rounds, ranking, ratio_of, rounds_of, spread_of
from runtime.compare.records import ONE_CORE, Partition, RunRecord
from runtime.stage_run import StageMeasurement


def summary_of(
    partitions: Sequence[Partition],
    baselines: Sequence[Baseline],
    runs: Sequence[RunRecord],
    *,
    reference: str,
    batch_size: int,
    comparable: bool,
) -> Summary:
    """Return what follows from the runs of a comparison, whose attributes these are."""
    rounds = {name: rounds_of(runs, name) for name in dict.fromkeys(run.name for run in runs)}
    splits = {part.name: rounds.get(part.name, {}) for part in partitions if part.same_as is None}
    ran_as = next(part.ran_as for part in partitions if part.name == reference)
    ours, ranked = splits[ran_as], ranking(splits, ran_as)
    compared = tuple(_partition(part, runs, splits[part.ran_as], ranked) for part in partitions)
    return Summary(
        reference=reference,
        partitions=compared,
        order=ranked.order,
        one_core=_one_core(runs, rounds.get(ONE_CORE, {}), ours),
        baselines=tuple(_baseline(own, runs, rounds.get(own.row, {}), ours) for own in baselines),
        audit=audit(compared, batch_size, runs, comparable=comparable),
    )


def _one_core(runs: Sequence[RunRecord], rounds: Rounds, reference: Rounds) -> OneCoreComparison:
    return OneCoreComparison(
        throughput_samples_per_s=spread_of(list(rounds.values())),
        ratio=ratio_of(reference, rounds),
        foreign_load=max((run.foreign_load for run in runs if run.name == ONE_CORE), default=0.0),
        failures=_failures(runs, ONE_CORE),
    )


def _partition(part: Partition, runs: Sequence[RunRecord], rounds: Rounds, ranked: Ranking) -> PartitionComparison:
    name, plan = part.ran_as, part.plan
    came_through = [run for run in runs if run.name == name and run.failure is None]
    return PartitionComparison(
        name=part.name,
        cuts=plan.cuts,
        plan=plan,
        same_as=part.same_as,
        predicted_throughput_samples_per_s=plan.predicted.promised_samples_per_s,
        predicted_makespan_s=plan.predicted.makespan_s,
        throughput_samples_per_s=spread_of(list(rounds.values())),
        makespan_s=spread_of([run.makespan_s for run in came_through]),
        ratio=ranked.ratios.get(name),
        rank=ranked.ranks.get(name),
        failures=_failures(runs, name),
        stages=tuple(
            _stage(plan, index, [run.stages[index] for run in came_through])
            for index in range(len(plan.stages) if came_through else 0)
        ),
    )


def _stage(plan: Plan, index: int, measurements: Sequence[StageMeasurement]) -> StageComparison:
    planned = plan.stages[index]
    peaks = [own.peak_rss_bytes for own in measurements if own.peak_rss_bytes is not None]
    return StageComparison(
        predicted_s=planned.total_s * planned.ease,
        busy_s=median(own.work_s + own.send_s for own in measurements),
        measured=StageMeasurement(
            forward_s=median(own.forward_s for own in measurements),
            backward_s=median(own.backward_s for own in measurements),
            weights_s=median(own.weights_s for own in measurements),
            update_s=median(own.update_s for own in measurements),
            send_s=median(own.send_s for own in measurements),
            took_s=median(own.took_s for own in measurements),
            wait_s=median(own.wait_s for own in measurements),
            foreign_load=median(own.foreign_load for own in measurements),
            peak_rss_bytes=max(peaks) if peaks else None,
        ),
        predicted_memory_bytes=planned.memory_bytes,
    )


def _baseline(baseline: Baseline, runs: Sequence[RunRecord], rounds: Rounds, reference: Rounds) -> BaselineComparison:
    return BaselineComparison(
        baseline=baseline,
        throughput_samples_per_s=spread_of(list(rounds.values())),
        ratio=ratio_of(reference, rounds),
        failures=_failures(runs, baseline.row),
    )


def _failures(runs: Sequence[RunRecord], name: str) -> tuple[str, ...]:
    return tuple(run.failure for run in runs if run.name == name and run.failure is not None)
