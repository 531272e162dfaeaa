"""What the profiler itself costs: how much slower a step is with a clock read between layers, and where its time goes.

    python benchmarks/profiler_overhead.py --model alexnet vgg16 resnet50 --batch-size 4

Plain and instrumented steps take turns in one settled process; the ratio is taken pair by pair. Then one whole profile
is timed from outside and set beside the time of its plain and instrumented steps.
"""

import argparse
import statistics
import time
from dataclasses import replace

from profiler.capture import captured_model, minibatch
from profiler.machine import pinned, this_machine, usable_cores
from profiler.measure import measure_profile, stepper_for
from profiler.profile import parts_s
from profiler.settings import Config
from profiler.settings import config as configuration


def main() -> None:
    """Print one line for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", nargs="+", default=["alexnet", "vgg16", "resnet50"])
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=15)
    options = parser.parse_args()
    here, core = this_machine(), usable_cores()[0]
    print(f"{here.cpu}, torch {here.torch}, core {core}, batch {options.batch_size}, {options.pairs} pairs\n")
    print("| model | layers | instrumented over plain: median (lowest – highest) | profile s | of it in steps s |")
    print("|---|---:|---|---:|---:|")
    for name in options.model:
        config = configuration.override(configuration.for_model(name), {"batch_size": options.batch_size})
        print(line_of(config, core, options.pairs), flush=True)


def line_of(config: Config, core: int, pairs: int) -> str:
    """Measure one model and return its line."""
    captured = captured_model(config)
    ratios = []
    with pinned(core):
        stepper = stepper_for(captured, minibatch(config, captured), replace(config.rule, lr=0.0), 2)
        stepper.warm_up()
        for _ in range(pairs):
            plain_s = stepper.plain_step()
            start = time.perf_counter()
            stepper.instrumented_step()
            ratios.append((time.perf_counter() - start) / plain_s)
        del stepper
    start = time.perf_counter()
    profile = measure_profile(config, captured_model(config), [core], lambda _share: None)
    whole_s = time.perf_counter() - start
    steps_s = profile.rounds * (profile.whole_step_s + parts_s(profile.layers, profile.loss))
    return (
        f"| {config.model} | {len(profile.layers)} | {statistics.median(ratios):.3f} ({min(ratios):.3f} – "
        f"{max(ratios):.3f}) | {whole_s:.1f} | {steps_s:.1f} |"
    )


if __name__ == "__main__":
    main()
