"""How much faster a pipeline of one-core stages trains than one process with one thread, of the same code.

    python benchmarks/pipeline_speedup.py --model alexnet resnet50 --stages 2 --batch-size 16

Both run the same layers through the same runtime: one stage on one core, and the optimized split of ``--stages`` stages
on as many cores. Runs alternate; the ratio is taken pair by pair. Leave the machine alone meanwhile.
"""

import argparse
import statistics

from optimizer.planner import Planner
from profiler import config as configuration
from profiler.config import Config
from profiler.measure import measure
from profiler.process import usable_cores
from profiler.provenance import machine
from profiler.workload import SEED, captured_model
from runtime.launcher import Launcher, Settings, comparable, cores_for
from runtime.pool import WorkerPool


def main() -> None:
    """Print one line for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", nargs="+", default=["alexnet", "resnet50", "vgg16"])
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    cores = cores_for(options.stages, usable_cores(None))
    if not comparable(cores):
        raise SystemExit(f"{options.stages} stages need as many cores; this process may use {len(set(cores))}")
    found = machine()
    print(f"{found.cpu}, torch {found.torch}, cores {cores}, batch {options.batch_size}, {options.batches} minibatches")
    print("model      one core samples/s   pipeline samples/s   ratio median (lowest - highest)   predicted ratio")
    for name in options.model:
        changes = {"batch_size": options.batch_size, "batches": options.batches}
        print(compare(configuration.override(configuration.for_model(name), changes), cores, options.repeats))


def compare(config: Config, cores: tuple[int, ...], repeats: int) -> str:
    """Return the line of one model."""
    profile = measure(config, captured_model(config), cores[:1], lambda _share: None)
    single = Planner(profile, 1, config.batches).optimized()
    split = Planner(profile, len(cores), config.batches).optimized()
    alone, piped = [], []
    with WorkerPool(cores[:1]) as one, WorkerPool(cores) as several:
        settings = Settings(rule=config.rule, seed=SEED)
        first = Launcher(captured_model(config), one, settings)
        second = Launcher(captured_model(config), several, settings)
        for _ in range(repeats):
            alone.append(first.run(single, config.batches).throughput_samples_per_s)
            piped.append(second.run(split, config.batches).throughput_samples_per_s)
        first.close()
        second.close()
    ratios = [after / before for before, after in zip(alone, piped, strict=True)]
    promised = split.predicted.throughput_samples_per_s / single.predicted.throughput_samples_per_s
    return (
        f"{config.model:10} {statistics.median(alone):18.1f} {statistics.median(piped):20.1f} "
        f"{statistics.median(ratios):14.2f} ({min(ratios):.2f} - {max(ratios):.2f}) {promised:26.2f}"
    )


if __name__ == "__main__":
    main()
