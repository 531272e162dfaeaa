"""What zero-bubble is worth beside other schedules and one process: runs in turn, each under its own best plan.

    python benchmarks/zero_bubble.py --model alexnet resnet50 vgg16 --batch-size 4 16 --stages 2 --threads

Every round times the plain step on one core, then runs each schedule once, and with ``--threads`` one process with as
many threads as stages, tuned and as installed, with as many samples an update. For each: throughput (median of the
rounds), how many times as fast zero-bubble is, round by round (median, smallest, largest), what it was predicted to
give and by how much that is off with the machine's drift since the profile taken out, which share that is of the pace
that its slowest stage allows, and the peak of every stage, measured and predicted. On the virtual clock where there are
fewer cores than stages.

Leave the machine alone meanwhile.
"""

import argparse
from contextlib import ExitStack
from statistics import median

from optimizer.cli import planned_models
from optimizer.plan import Plan
from optimizer.planning import OPTIMIZED, SLICED
from optimizer.schedule import SCHEDULES, ScheduleName, pace_of
from profiler.capture import SEED, captured_model
from profiler.machine import this_machine, usable_cores
from profiler.measure import step_timer
from profiler.settings import Config
from profiler.settings import config as configuration
from runtime.baselines import run_baseline
from runtime.pipeline import Execution, cores_for, default_clock
from runtime.results import RunResult
from runtime.supervisor import WorkerPool
from runtime.worker import Settings

PATIENCE_S = 600.0
OURS: ScheduleName = "zero-bubble"


def plan_of(config: Config, schedule: ScheduleName, options: argparse.Namespace) -> tuple[Plan, float]:
    """Return the best plan for a schedule, and what the profile says of the plain step."""
    pace = pace_of(schedule, config.stages, options.update_every, options.held)
    names = (OPTIMIZED, SLICED) if options.slice else (OPTIMIZED,)
    models = planned_models(config, pace, names, lambda sentence: print(f"({sentence})"), budget_s=options.budget)
    return models.best.optimized(), models.whole.profile.whole_step_s


def measure(config: Config, options: argparse.Namespace) -> None:
    """Run the rounds of one model and batch size, and print what they gave."""
    cores = cores_for(config.stages, usable_cores())
    clock = default_clock(cores, "shm")
    plans, steps = zip(*(plan_of(config, way, options) for way in options.schedules), strict=True)
    results: list[list[RunResult]] = [[] for _ in plans]
    drifts: list[float] = []
    plain = [f"plain PyTorch, {len(set(cores))} threads"] if options.threads else []
    speeds: dict[str, list[float]] = {name: [] for name in (*(plan.pace.words for plan in plans), *plain)}
    with WorkerPool(cores) as pool, ExitStack() as stack:
        executions = [
            stack.enter_context(
                Execution(
                    captured_model(config, plan.form),
                    pool,
                    Settings(rule=config.rule, seed=SEED, pace=plan.pace, clock=clock),
                )
            )
            for plan in plans
        ]
        step = stack.enter_context(step_timer(config, cores[0]))
        for _ in range(options.rounds):
            drifts.append(step(PATIENCE_S).step_s / steps[0])
            for execution, plan, own in zip(executions, plans, results, strict=True):
                own.append(execution.run(plan, options.batches))
                speeds[plan.pace.words].append(own[-1].throughput_samples_per_s)
            for name in plain:
                own_cores = sorted(set(cores))
                speeds[name].append(
                    run_baseline(config, own_cores, options.update_every, step_s=steps[0], precision="fp32")
                )
    title = f"{config.model}, batch {config.batch_size}, {config.stages} stages, {clock} clock"
    print(f"\n{title}, drift {median(drifts):.2f}")
    ours = next(own for words, own in speeds.items() if words.startswith(OURS))
    for words, speed in speeds.items():
        ratios = [first / second for first, second in zip(ours, speed, strict=True)]
        print(
            f"  {words:32} {median(speed):7.1f} samples/s; {OURS} ÷ it {median(ratios):.2f} ({min(ratios):.2f} – "
            f"{max(ratios):.2f})"
        )
    for plan, own in zip(plans, results, strict=True):
        print(f"  {plan.pace.words}: {about(plan, own, drifts)}", flush=True)


def about(plan: Plan, own: list[RunResult], drifts: list[float]) -> str:
    """Return prediction, pace and peaks of the runs of a plan, in words."""
    planned = own[0].plan
    promised = planned.predicted.promised_samples_per_s
    errors = [promised / drift / result.throughput_samples_per_s - 1 for drift, result in zip(drifts, own, strict=True)]
    paces = [
        result.throughput_samples_per_s * max(stage.whole.work_s / stage.whole.minibatches for stage in result.stages)
        for result in own
    ]
    peaks = [
        f"{max(result.stages[at].measured.peak_rss_bytes or 0 for result in own) / 2**20:.0f} "
        f"({stage.memory_bytes / 2**20:.0f})"
        for at, stage in enumerate(planned.stages)
    ]
    return (
        f"{plan.slicing or 'layers whole'}, predicted {promised:.1f}, error without drift {median(errors):+.1%}; "
        f"{median(paces) / plan.batch_size:.3f} of the pace; peaks (predicted) {', '.join(peaks)} MiB"
    )


def main() -> None:
    """Print a block for each model and batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["alexnet", "resnet50", "vgg16"])
    parser.add_argument("--batch-size", nargs="+", type=int, default=[4, 16])
    parser.add_argument("--schedules", nargs="+", default=list(SCHEDULES), choices=list(SCHEDULES))
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--update-every", type=int, default=8)
    parser.add_argument("--held", type=int, help="minibatches held between F and W (2S - 1)")
    parser.add_argument("--batches", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--budget", type=float, help="seconds that a profile takes")
    parser.add_argument("--slice", action="store_true", help="cut layers inside where that pays")
    parser.add_argument("--threads", action="store_true", help="run one process with threads, too")
    options = parser.parse_args()
    here = this_machine()
    print(f"{here.cpu}, torch {here.torch}; {options.rounds} rounds of {options.batches} minibatches")
    for name in options.model:
        for batch_size in options.batch_size:
            changes = {"batch_size": batch_size, "stages": options.stages, "batches": options.batches}
            measure(configuration.override(configuration.for_model(name), changes), options)


if __name__ == "__main__":
    main()
