"""How true the virtual clock is: stages that take turns on fewer cores, against the same stages on more cores.

    python benchmarks/virtual_clock.py --model alexnet resnet50 vgg16 --batch-size 1 16

    2 on 1 | 2    two stages on one core (virtual clock) against two stages on two cores (clock on the wall)
    4 on 1 | 2    four stages on one core against four on two (both on the virtual clock)

Both run the same splits in the same rounds, in turn. For each split: the throughputs (medians of the rounds), the
difference (median of the rounds' ratios, less one), and the busiest stage's processor time with fewer cores ÷ with
more: what caches, memory and clock make of two stages that work at once. Then, for each model and batch size, the mean
of the absolute differences, the largest, and the rank correlation of the throughputs.

Leave the machine alone meanwhile.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean, median

from evenly_spaced import spaced_splits

from optimizer.plan import Plan, distinct
from optimizer.planning import ALL, Models, Planner, load_schemes, partition_names, plans_for
from profiler.capture import SEED, captured_model
from profiler.execution import Captured
from profiler.machine import this_machine, usable_cores
from profiler.measure import measure_profile
from profiler.settings import Config
from profiler.settings import config as configuration
from runtime.compare import spearman
from runtime.pipeline import Execution
from runtime.results import Clock, RunResult
from runtime.supervisor import WorkerPool
from runtime.worker import Settings

PROFILE_S = 10.0
RUN_S = 8.0
FEWEST, MOST = 8, 40
"""Minibatches of a run, which is to take ``RUN_S`` on one core."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where stages run, and by which clock."""

    cores: tuple[int, ...]
    clock: Clock


def main() -> None:
    """Print a line for each split, and one for each model, batch size and pair of places."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["alexnet", "resnet50", "vgg16"])
    parser.add_argument("--batch-size", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--splits", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    one, other, *_ = usable_cores()
    here = this_machine()
    print(f"{here.cpu}, torch {here.torch}, cores {one} and {other}; {options.rounds} rounds")
    for name in options.model:
        for batch_size in options.batch_size:
            config = configuration.override(configuration.for_model(name), {"batch_size": batch_size})
            captured = captured_model(config)
            profile = measure_profile(config, captured, (one,), lambda _share: None, budget_s=PROFILE_S)
            minibatches = max(FEWEST, min(MOST, round(RUN_S / profile.whole_step_s)))
            for stages, few, many in (
                (2, Place((one,) * 2, "virtual"), Place((one, other), "wall")),
                (4, Place((one,) * 4, "virtual"), Place((one, other) * 2, "virtual")),
            ):
                planner = Planner(profile, stages, minibatches)
                print(f"\n{name}, batch {batch_size}: {stages} on 1 | 2, {minibatches} minibatches", flush=True)
                chosen = list(splits(planner, options.splits))
                compare(config, captured, chosen, (few, many), minibatches=minibatches, rounds=options.rounds)


def splits(planner: Planner, wanted: int) -> Iterator[tuple[str, Plan]]:
    """Yield distinct splits: the optimized one, the schemes, and evenly spaced ones."""
    schemes = load_schemes()
    plans = plans_for(partition_names([ALL], schemes), Models(planner), schemes, lambda _sentence: None)
    names = list(plans)
    chosen = {names[at]: plans[names[at]] for at in dict.fromkeys(distinct(list(plans.values())))}
    chosen |= spaced_splits(planner, wanted, {plan.split for plan in chosen.values()})
    yield from list(chosen.items())[:wanted]


def compare(
    config: Config,
    captured: Captured,
    plans: list[tuple[str, Plan]],
    places: tuple[Place, Place],
    *,
    minibatches: int,
    rounds: int,
) -> None:
    """Run all splits in both places, round after round, and print what that shows."""
    few, many = places
    runs: dict[tuple[str, Place], list[RunResult]] = {}
    with WorkerPool(few.cores) as crowded, WorkerPool(many.cores) as roomy:
        for _ in range(rounds):
            for place, pool in ((few, crowded), (many, roomy)):
                with Execution(captured, pool, Settings(rule=config.rule, seed=SEED, clock=place.clock)) as execution:
                    for name, plan in plans:
                        runs.setdefault((name, place), []).append(execution.run(plan, minibatches))
    print(f"{'split':14} {'fewer':>8} {'more':>8} {'difference':>11} {'busy':>6}")
    differences, speeds = [], []
    for name, _ in plans:
        own, theirs = runs[name, few], runs[name, many]
        speeds.append([median(run.throughput_samples_per_s for run in row) for row in (own, theirs)])
        ratios = [
            before.throughput_samples_per_s / after.throughput_samples_per_s
            for before, after in zip(own, theirs, strict=True)
        ]
        differences.append(median(ratios) - 1)
        busy = [median(max(stage.measured.busy_s for stage in run.stages) for run in row) for row in (own, theirs)]
        print(
            f"{name:14} {speeds[-1][0]:8.2f} {speeds[-1][1]:8.2f} {differences[-1]:+11.1%} {busy[0] / busy[1]:6.3f}",
            flush=True,
        )
    order = spearman(*zip(*speeds, strict=True))
    print(
        f"mean {mean(map(abs, differences)):.1%}, signed {mean(differences):+.1%}, "
        f"largest {max(differences, key=abs):+.1%}, Spearman {order:.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
