"""How close a pipeline of one-core stages comes to what its cores can do.

    python benchmarks/pipeline_speedup.py --model alexnet resnet50 vgg16 --stages 2 --batch-size 16

The same layers run through the same runtime: in one stage on one core, and in the optimized split of ``--stages``
stages on as many cores. Runs alternate, and ratios are taken pair by pair:

    speed-up      pipeline ÷ one core
    of possible   pipeline ÷ (stages × one core ÷ the plan's imbalance): 1 if stages did not get in each other's way
    of busiest    pipeline ÷ (batch size ÷ the busiest stage's processor time a minibatch): 1 if it never waited
    faults        page faults a minibatch in the steady state, of the stage that has most
    recording     share of the makespan that goes into keeping the timeline and the black box

Leave the machine alone meanwhile.
"""

import argparse
import statistics

from optimizer.planning import Planner
from profiler.capture import SEED, captured_model
from profiler.machine import this_machine, usable_cores
from profiler.measure import measure_profile
from profiler.settings import Config
from profiler.settings import config as configuration
from runtime.pipeline import Execution, cores_for, own_cores
from runtime.results import RunResult
from runtime.supervisor import WorkerPool
from runtime.worker import Settings


def main() -> None:
    """Print one line for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", nargs="+", default=["alexnet", "resnet50", "vgg16"])
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    cores = cores_for(options.stages, usable_cores())
    if not own_cores(cores):
        raise SystemExit(f"{options.stages} stages need as many cores; this process may use {len(set(cores))}")
    found = this_machine()
    print(f"{found.cpu}, torch {found.torch}, cores {cores}, batch {options.batch_size}, {options.batches} minibatches")
    print("each: median (lowest - highest)")
    print(
        "model      samples/s: one core  pipeline   predicted   speed-up           of possible        of busiest"
        "         faults  recording"
    )
    for name in options.model:
        changes = {"batch_size": options.batch_size, "batches": options.batches}
        config = configuration.override(configuration.for_model(name), changes)
        print(compare(config, cores, options.repeats), flush=True)


def compare(config: Config, cores: tuple[int, ...], repeats: int) -> str:
    """Return the line of one model."""
    profile = measure_profile(config, captured_model(config), cores[:1], lambda _share: None)
    single = Planner(profile, 1, config.minibatches()).optimized()
    split = Planner(profile, len(cores), config.minibatches()).optimized()
    settings = Settings(rule=config.rule, seed=SEED)
    alone: list[RunResult] = []
    piped: list[RunResult] = []
    with (
        WorkerPool(cores[:1]) as one,
        WorkerPool(cores) as several,
        Execution(captured_model(config), one, settings) as first,
        Execution(captured_model(config), several, settings) as second,
    ):
        for _ in range(repeats):
            alone.append(first.run(single, config.minibatches()))
            piped.append(second.run(split, config.minibatches()))
    ratios = [
        after.throughput_samples_per_s / before.throughput_samples_per_s
        for before, after in zip(alone, piped, strict=True)
    ]
    times = [stage.total_s for stage in split.stages]
    imbalance = max(times) / statistics.mean(times)
    possible = [ratio * imbalance / len(cores) for ratio in ratios]
    busiest = [
        run.throughput_samples_per_s * max(stage.busy_s for stage in run.stages) / run.batch_size for run in piped
    ]
    faults = max(statistics.median(run.stages[at].page_faults for run in piped) for at in range(len(cores)))
    speeds = [statistics.median(run.throughput_samples_per_s for run in runs) for runs in (alone, piped)]
    return (
        f"{config.model:10} {speeds[0]:19.1f} {speeds[1]:9.1f} {split.predicted.promised_samples_per_s:11.1f}   "
        f"{spread(ratios)}   {spread(possible)}   {spread(busiest)} {faults:8.0f} "
        f"{max(recording(run) for run in piped):10.2%}"
    )


def spread(values: list[float]) -> str:
    """Return median (lowest - highest)."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} - {max(values):.2f})"


def recording(run: RunResult) -> float:
    """Return the largest share of a stage's makespan that lies between its actions and is no wait."""
    shares = []
    for stage in run.stages:
        pairs = zip(stage.actions, stage.actions[1:], strict=False)
        between_s = sum(after.start_s - after.wait_s - before.end_s for before, after in pairs)
        shares.append(between_s / run.makespan_s)
    return max(shares)


if __name__ == "__main__":
    main()
