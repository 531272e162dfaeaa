"""What bfloat16 is worth: the best plan by layer (``--precision auto``) beside the best one in float32, same rounds.

    python benchmarks/precision.py --model alexnet resnet50 vgg16 --batch-size 1 16

Either plan cuts layers inside where that pays. Every round runs the plain step on one core, either plan, and a tuned
process with a thread for each stage in float32 and under torch's autocast. For each plan: throughput (median of the
rounds), predicted, the error of the prediction with the machine's drift since the profile taken out, and the largest
peak of a stage beside its prediction. Then auto ÷ float32, and auto ÷ the tuned process in its better precision, round
by round: median, smallest and largest.

A core without AMX or AVX-512-BF16 is told so. Leave the machine alone meanwhile.
"""

import argparse
from contextlib import ExitStack
from statistics import median
from typing import Literal

from optimizer.cli import planned_models
from optimizer.plan import Plan
from optimizer.planning import LOWERED, OPTIMIZED, SLICED
from optimizer.schedule import PLAIN_1F1B
from profiler.capture import SEED, captured_model
from profiler.cli import settled_precision
from profiler.machine import bfloat16_instructions, this_machine, usable_cores
from profiler.measure import step_timer
from profiler.profile import BF16, FP32
from profiler.settings import Config
from profiler.settings import config as configuration
from runtime.baselines import run_baseline
from runtime.pipeline import Execution, cores_for, default_clock, own_cores
from runtime.results import RunResult
from runtime.supervisor import WorkerPool
from runtime.worker import Settings

PATIENCE_S = 600.0


def plans_of(config: Config) -> tuple[list[Plan], float]:
    """Return the best plan in float32 and the one in whatever is faster, and what the profile says of a plain step."""
    models = planned_models(config, PLAIN_1F1B, (OPTIMIZED, SLICED, LOWERED), lambda sentence: print(f"({sentence})"))
    full = (models.sliced or models.whole).optimized()
    if not models.lowered:
        print(f"({models.why_full})")
    return [full, models.best.optimized()], models.whole.profile.lone_core_s


def measure(config: Config, rounds: int) -> None:
    """Run the rounds of one model and batch size, and print what they gave."""
    cores = cores_for(config.stages, usable_cores())
    clock = default_clock(cores, "shm")
    plans, step_s = plans_of(config)
    precisions: tuple[Literal["fp32", "bf16"], ...] = ("fp32", "bf16") if own_cores(cores) else ()
    results: list[list[RunResult]] = [[] for _ in plans]
    drifts: list[float] = []
    tuned: list[list[float]] = [[] for _ in precisions]
    with WorkerPool(cores) as pool, ExitStack() as stack:
        settings = Settings(rule=config.rule, seed=SEED, clock=clock)
        executions = [
            stack.enter_context(Execution(captured_model(config, plan.form), pool, settings)) for plan in plans
        ]
        step = stack.enter_context(step_timer(config, cores[0]))
        for _ in range(rounds):
            drifts.append(step(PATIENCE_S).step_s / step_s)
            for execution, plan, own in zip(executions, plans, results, strict=True):
                own.append(execution.run(plan, config.minibatches()))
            for precision, threads in zip(precisions, tuned, strict=True):
                threads.append(run_baseline(config, cores, 1, step_s=step_s, precision=precision))
    title = f"{config.model}, batch {config.batch_size}, {config.stages} stages, {clock} clock"
    print(f"\n{title}, drift {median(drifts):.2f}")
    for plan, own in zip(plans, results, strict=True):
        report(plan, own, drifts)
    speeds = [[result.throughput_samples_per_s for result in own] for own in results]
    predicted = [plan.predicted.promised_samples_per_s for plan in plans]
    print(f"  auto ÷ fp32: {ratio(speeds[1], speeds[0])}, predicted {predicted[1] / predicted[0]:.2f}")
    if tuned:
        best = max(tuned, key=median)
        said = ", ".join(f"{name} {median(own):.1f}" for name, own in zip((FP32, BF16), tuned, strict=True))
        print(
            f"  auto ÷ one process, {config.stages} threads, tuned ({said} samples/s): {ratio(speeds[1], best)}",
            flush=True,
        )


def report(plan: Plan, own: list[RunResult], drifts: list[float]) -> None:
    """Print what one plan promised and gave."""
    speeds = [result.throughput_samples_per_s for result in own]
    promised = plan.predicted.promised_samples_per_s
    errors = [promised / drift / speed - 1 for drift, speed in zip(drifts, speeds, strict=True)]
    peaks = [max(result.stages[at].measured.peak_rss_bytes or 0 for result in own) for at in range(len(plan.stages))]
    at = max(range(len(peaks)), key=peaks.__getitem__)
    print(
        f"  {plan.precision} ({plan.slicing or 'layers whole'}): {median(speeds):.1f} samples/s, "
        f"predicted {promised:.1f}, error without drift {median(errors):+.1%}; stage {at} peaked at "
        f"{peaks[at] / 2**20:.0f} MiB, predicted {plan.stages[at].memory_bytes / 2**20:.0f}"
    )


def ratio(ours: list[float], theirs: list[float]) -> str:
    """Return the median of the rounds' ratios with the smallest and the largest."""
    ratios = [own / other for own, other in zip(ours, theirs, strict=True)]
    return f"{median(ratios):.2f} ({min(ratios):.2f} – {max(ratios):.2f})"


def main() -> None:
    """Print a block for each model and batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["alexnet", "resnet50", "vgg16"])
    parser.add_argument("--batch-size", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--batches", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    here = this_machine()
    words = f"bfloat16: {bfloat16_instructions() or 'no instructions'}"
    print(f"{here.cpu}, {words}, torch {here.torch}; {options.rounds} rounds of {options.batches} minibatches")
    for name in options.model:
        for batch_size in options.batch_size:
            changes = {
                "batch_size": batch_size, "stages": options.stages, "batches": options.batches, "precision": "auto",
            }  # fmt: skip
            config = configuration.override(configuration.for_model(name), changes)
            measure(settled_precision(config), options.rounds)


if __name__ == "__main__":
    main()
