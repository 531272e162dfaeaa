"""What feeding costs: training over minibatches that this process hands out, against stages that make their own.

python benchmarks/feeding.py --model alexnet --batch-size 16
"""

import argparse
from statistics import median

import torch

from optimizer.planning import Planner
from profiler.capture import SEED, build, captured_model
from profiler.cli import fresh_profile
from profiler.machine import usable_cores
from profiler.settings import config as configuration
from runtime.pipeline import Execution, cores_for
from runtime.supervisor import WorkerPool
from runtime.training import Pipeline
from runtime.worker import POOL, Settings
from runtime.worker.data import inputs, targets


def main() -> None:
    """Run both in turn, and print throughput and peak memory of each, and their ratio round by round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="alexnet")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=32)
    options = parser.parse_args()
    config = configuration.override(
        configuration.for_model(options.model), {"batch_size": options.batch_size, "lr": 1e-6}
    )
    profile = fresh_profile(config)
    plan = Planner(profile, options.stages, options.batches).optimized()
    shape = config.input_shape
    pool = [
        (inputs(SEED, at, shape), targets(SEED, at, (config.batch_size,), config.classes)) for at in range(POOL)
    ] * -(-options.batches // POOL)
    loader, ratios = pool[: options.batches], []
    cores = cores_for(options.stages, usable_cores())
    settings = Settings(rule=config.rule, seed=SEED)
    for _ in range(options.rounds):
        with WorkerPool(cores) as workers, Execution(captured_model(config), workers, settings) as execution:
            own = execution.run(plan, options.batches)
        speeds = [own.batch_size * own.minibatches / own.makespan_s]
        peaks = [[stage.measured.peak_rss_bytes or 0 for stage in own.stages]]
        model = build(config.model, config.classes, SEED)
        with Pipeline(model, plan, update=config.rule) as pipeline:
            fed = pipeline.train(loader)
        assert [loss for loss in own.losses[:4] if loss] == [loss for loss in fed.losses[:4] if loss]
        speeds.append(fed.samples_per_s)
        peaks.append([stage.peak_rss_bytes or 0 for stage in fed.stages])
        ratios.append(speeds[1] / speeds[0])
        mib = [[round(peak / 2**20) for peak in each] for each in peaks]
        print(
            f"own {speeds[0]:.1f}, fed {speeds[1]:.1f} samples/s, ratio {ratios[-1]:.3f}; peaks MiB {mib[0]} {mib[1]}"
        )
    print(f"{config.model}, batch {config.batch_size}: fed ÷ own {median(ratios):.3f}", end=" ")
    print(f"({min(ratios):.3f} – {max(ratios):.3f}), torch {torch.__version__}")


if __name__ == "__main__":
    main()
