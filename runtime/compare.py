"""Compare partitions of one model: run them in turn, round after round, and set prediction beside measurement."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median

from optimizer.partitions import distinct
from optimizer.types import Plan
from profiler.config import Config
from profiler.provenance import machine
from profiler.statistics import interval
from runtime.launcher import Launcher, comparable
from runtime.types import Comparison, PartitionComparison, RunResult, Spread, StageComparison


def compare(
    plans: Mapping[str, Plan],
    launcher: Launcher,
    config: Config,
    save: Callable[[Comparison], None],
    advance: Callable[[str], None],
) -> Comparison:
    """Run every distinct split ``config.repeats`` times, one round of all after the other.

    Args:
        plans: The partitions by name.
        launcher: What runs them.
        config: Minibatches and repeats.
        save: Called with what is known after each round.
        advance: Called with the partition's name after each run.

    Raises:
        RunError: A run failed.
    """
    names = list(plans)
    first = distinct(list(plans.values()))
    runs: dict[str, list[RunResult]] = {names[index]: [] for index in sorted(set(first))}
    for _ in range(config.repeats):
        for name, results in runs.items():
            results.append(launcher.run(plans[name], config.batches))
            advance(name)
        sources = {name: names[index] for name, index in zip(names, first, strict=True)}
        comparison = summarise(plans, runs, sources, config, launcher.pool.cores)
        save(comparison)
    return comparison


def summarise(
    plans: Mapping[str, Plan],
    runs: Mapping[str, Sequence[RunResult]],
    sources: Mapping[str, str],
    config: Config,
    cores: tuple[int, ...],
) -> Comparison:
    """Put plans and runs together; ``sources`` says whose runs are a partition's."""
    return Comparison(
        model=config.model,
        batch_size=config.batch_size,
        input_shape=next(iter(plans.values())).input_shape,
        minibatches=config.batches,
        repeats=len(next(iter(runs.values()))),
        num_stages=len(cores),
        cores=cores,
        channel=next(iter(runs.values()))[0].channel,
        comparable=comparable(cores),
        machine=machine(),
        partitions=tuple(_partition(name, plan, runs[sources[name]], sources[name]) for name, plan in plans.items()),
    )


def _partition(name: str, planned: Plan, runs: Sequence[RunResult], source: str) -> PartitionComparison:
    ran = runs[0].plan
    plan = replace(
        planned, schedule=ran.schedule, flush_every=ran.flush_every, stages=ran.stages, predicted=ran.predicted
    )  # fmt: skip
    return PartitionComparison(
        name=name,
        cuts=plan.cuts,
        plan=plan,
        same_as=None if source == name else source,
        predicted_throughput_samples_per_s=plan.predicted.throughput_samples_per_s,
        predicted_makespan_s=plan.predicted.makespan_s,
        throughput_samples_per_s=_spread([run.throughput_samples_per_s for run in runs]),
        makespan_s=_spread([run.makespan_s for run in runs]),
        stages=tuple(_stage(plan, index, runs) for index in range(len(plan.stages))),
    )


def _stage(plan: Plan, index: int, runs: Sequence[RunResult]) -> StageComparison:
    stages = [run.stages[index] for run in runs]
    peaks = [stage.peak_rss_bytes for stage in stages if stage.peak_rss_bytes is not None]
    return StageComparison(
        predicted_s=plan.minibatch_s(plan.stages[index]),
        busy_s=median(stage.busy_s for stage in stages),
        wait_s=median(stage.wait_s for stage in stages),
        send_s=median(stage.send_s for stage in stages),
        foreign_load=median(stage.foreign_load for stage in stages),
        predicted_memory_bytes=plan.stages[index].memory_bytes,
        peak_rss_bytes=max(peaks) if peaks else None,
    )


def _spread(values: Sequence[float]) -> Spread:
    middle, low, high = interval(values)
    return Spread(median=middle, low=low, high=high, runs=tuple(values))
