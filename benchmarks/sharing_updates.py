"""What one update for several minibatches is worth: 2bw beside 1f1b, each under its own plan, in the same rounds.

    python benchmarks/sharing_updates.py --model alexnet vgg16 --batch-size 1 16

Each schedule gets the best plan for it, with layers cut inside where that pays. Every round runs the plain step on one
core, then either schedule. For each: throughput (median of the rounds), predicted, the error of the prediction with the
machine's drift since the profile taken out, and the peak of stage 0 beside its prediction. Then the ratio, round by
round: median, smallest and largest. On the virtual clock where there are fewer cores than stages.

Leave the machine alone meanwhile.
"""

import argparse
from contextlib import ExitStack
from statistics import median

from optimizer.cli import planned_models
from optimizer.plan import Plan
from optimizer.planning import OPTIMIZED, SLICED
from optimizer.schedule import ASYNCHRONOUS, ScheduleName, pace_of
from profiler.capture import SEED, captured_model
from profiler.machine import this_machine, usable_cores
from profiler.measure import Yardstick
from profiler.settings import Config
from profiler.settings import config as configuration
from runtime.pipeline import Execution, cores_for, default_clock
from runtime.results import RunResult
from runtime.supervisor import WorkerPool
from runtime.worker import Settings

PATIENCE_S = 600.0
WAYS: tuple[ScheduleName, ...] = (ASYNCHRONOUS, "2bw")


def plan_of(config: Config, schedule: ScheduleName) -> tuple[Plan, float]:
    """Return the best plan for a schedule, and what the profile says of the plain step."""
    models = planned_models(
        config, pace_of(schedule, config.stages), (OPTIMIZED, SLICED), lambda sentence: print(f"({sentence})")
    )
    return models.best.optimized(), models.whole.profile.whole_step_s


def measure(config: Config, rounds: int) -> None:
    """Run the rounds of one model and batch size, and print what they gave."""
    cores = cores_for(config.stages, usable_cores())
    clock = default_clock(cores, "shm")
    plans, steps = zip(*(plan_of(config, way) for way in WAYS), strict=True)
    results: list[list[RunResult]] = [[] for _ in WAYS]
    drifts: list[float] = []
    with WorkerPool(cores) as pool, ExitStack() as stack:
        executions = [
            stack.enter_context(
                Execution(
                    captured_model(config, plan.form),
                    pool,
                    Settings(rule=config.rule, seed=SEED, pace=plan.pace, clock=clock, on_nan="warn"),
                )
            )
            for plan in plans
        ]
        yardstick = stack.enter_context(Yardstick(config, cores[0]))
        for _ in range(rounds):
            drifts.append(yardstick.time(PATIENCE_S).step_s / steps[0])
            for execution, plan, own in zip(executions, plans, results, strict=True):
                own.append(execution.run(plan, config.minibatches))
    title = f"{config.model}, batch {config.batch_size}, {config.stages} stages, {clock} clock"
    print(f"\n{title}, drift {median(drifts):.2f}")
    for plan, own in zip(plans, results, strict=True):
        speeds = [result.throughput_samples_per_s for result in own]
        promised = own[0].plan.predicted.promised_samples_per_s
        errors = [promised / drift / speed - 1 for drift, speed in zip(drifts, speeds, strict=True)]
        peak = max(result.stages[0].measured.peak_rss_bytes or 0 for result in own)
        print(
            f"  {plan.pace.words} ({plan.slicing or 'layers whole'}): {median(speeds):.1f} samples/s, predicted "
            f"{promised:.1f}, error without drift {median(errors):+.1%}; stage 0 peaked at {peak / 2**20:.0f} MiB, "
            f"predicted {own[0].plan.stages[0].memory_bytes / 2**20:.0f}"
        )
    ratios = [
        ours.throughput_samples_per_s / theirs.throughput_samples_per_s for theirs, ours in zip(*results, strict=True)
    ]
    predicted = [own[0].plan.predicted.promised_samples_per_s for own in results]
    print(
        f"  2bw ÷ 1f1b: {median(ratios):.2f} ({min(ratios):.2f} – {max(ratios):.2f}), predicted "
        f"{predicted[1] / predicted[0]:.2f}",
        flush=True,
    )


def main() -> None:
    """Print a block for each model and batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["alexnet", "vgg16"])
    parser.add_argument("--batch-size", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--stages", type=int, default=4)
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    here = this_machine()
    print(f"{here.cpu}, torch {here.torch}; {options.rounds} rounds of {options.batches} minibatches")
    for name in options.model:
        for batch_size in options.batch_size:
            changes = {"batch_size": batch_size, "stages": options.stages, "batches": options.batches}
            measure(configuration.override(configuration.for_model(name), changes), options.rounds)


if __name__ == "__main__":
    main()
