"""How soon stages' processes are there, what they hold, and whether a forked stage is as fast as a spawned one.

    python benchmarks/process_start.py --model alexnet resnet50 vgg16 --stages 2 --pairs 5

First pools of ``--processes`` processes, forked from the forkserver and spawned in turn: seconds until all are ready
(the forkserver is warm), resident memory, and what each holds alone (USS). Then the optimized split of ``--stages``
stages, in a pool of either kind in turn: forked ÷ spawned throughput, pair by pair. Forked stages share one layout of
addresses: the same buffers lie at the same places in each of them, which could alias in caches that they share.

Leave the machine alone meanwhile.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest.mock import patch

import psutil

import __main__
from optimizer.planning import Planner
from profiler.capture import SEED, captured_model
from profiler.machine import this_machine, usable_cores
from profiler.measure import measure_profile
from profiler.settings import config as configuration
from runtime.pipeline import Execution, cores_for
from runtime.supervisor import WorkerPool
from runtime.worker import Settings

WAYS = ("forked", "spawned")

# Processes would import this script, which takes a second, and need nothing of it; those of a command have none.
__main__.__spec__ = None
del __main__.__file__


def main() -> None:
    """Print a table of pools, and one of models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", nargs="*", default=["alexnet", "resnet50", "vgg16"])
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--processes", type=int, default=4)
    options = parser.parse_args()
    here = this_machine()
    print(f"{here.cpu}, torch {here.torch}")
    pools(options.processes, options.pairs)
    print("| model | forked ÷ spawned, pair by pair | median |\n|---|---|---:|")
    for name in options.model:
        print(ratios(name, options), flush=True)


@contextmanager
def started(way: str, cores: tuple[int, ...]) -> Iterator[WorkerPool]:
    """Yield a pool whose processes are forked or spawned."""
    spawning = patch("profiler.machine.child_processes._FORKING", multiprocessing.get_context("spawn"))
    with spawning if way == "spawned" else nullcontext():
        pool = WorkerPool(cores)
    with pool:
        yield pool


def pools(processes: int, times: int) -> None:
    """Print how soon pools are there, and what their processes hold; the first, which warms up, does not count."""
    cores = cores_for(processes, usable_cores())
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    held: dict[str, tuple[float, float]] = {}
    for number in range(times + 1):
        for way in WAYS:
            begun_s = time.perf_counter()
            with started(way, cores) as pool:
                if number:
                    seconds[way].append(time.perf_counter() - begun_s)
                memory = [psutil.Process(pid).memory_full_info() for pid in pool.pids]
                held[way] = (
                    statistics.median(own.rss for own in memory) / 2**20,
                    statistics.median(own.uss for own in memory) / 2**20,
                )
    print(f"| {processes} processes | s until ready: median | least | most | MiB resident | MiB alone (USS) |")
    print("|---|---:|---:|---:|---:|---:|")
    for way in WAYS:
        own, (resident, alone) = seconds[way], held[way]
        print(
            f"| {way} | {statistics.median(own):.2f} | {min(own):.2f} | {max(own):.2f} | {resident:.0f} | {alone:.0f} |"
        )


def ratios(name: str, options: argparse.Namespace) -> str:
    """Return the line of one model."""
    changes = {"batch_size": options.batch_size, "batches": options.batches}
    config = configuration.override(configuration.for_model(name), changes)
    cores = cores_for(options.stages, usable_cores())
    captured = captured_model(config)
    profile = measure_profile(config, captured, cores[:1], lambda _share: None, budget_s=10.0)
    plan = Planner(profile, options.stages, config.minibatches()).optimized()
    pairs: list[float] = []
    for number in range(options.pairs):
        speeds: dict[str, float] = {}
        for way in WAYS if number % 2 else WAYS[::-1]:
            with (
                started(way, cores) as pool,
                Execution(captured, pool, Settings(rule=config.rule, seed=SEED)) as execution,
            ):
                speeds[way] = execution.run(plan, config.minibatches()).throughput_samples_per_s
        pairs.append(speeds["forked"] / speeds["spawned"])
    shown = ", ".join(f"{pair:.3f}" for pair in pairs)
    return f"| {name} | {shown} | {statistics.median(pairs):.3f} |"


if __name__ == "__main__":
    main()
