"""How long planning takes for many ranks over a network in two tiers: from the Profile object to the finished Plan.

    python benchmarks/planning_for_many_ranks.py profiles/alexnet-b16-128.json --plot docs/results/many-ranks.svg

The network is made up from a seed: hosts of eight ranks, 50 to 150 Gbit/s and 5 µs within a host, 5 to 15 Gbit/s and 50
µs between two; each rank is up to a tenth slower or faster than the profile's core. The chain takes its layers' sizes
from the profile, and its times by lot. One line for each size: the plan, whether it is proven the best or how far it
may be off, and the median of three.
"""

import argparse
import random
import statistics
import time
from pathlib import Path

from planning_time import chain_like, finished

from optimizer.plan import Link, NetworkProfile, Plan, RankFacts
from optimizer.planning import Planner
from profiler.files import read_json
from profiler.profile import Profile

LAYERS, RANKS = (50, 100, 200, 400), (4, 8, 16, 32, 64)
HOST_RANKS, SEED, REPEATS = 8, 7, 3
SIZES = (64, 1 << 24)


def main() -> None:
    """Print a line for each number of layers and ranks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    like = read_json(options.profile, Profile)
    print("| layers | ranks | plan | slowest stage ÷ fastest | cuts between hosts | median s | lowest | highest |")
    print("|---:|---:|---|---:|---:|---:|---:|---:|")
    medians: dict[int, list[tuple[int, float]]] = {}
    for layers in LAYERS:
        profile = chain_like(like, layers)
        for ranks in (one for one in RANKS if one <= layers):
            network, times_s = two_tiers(profile, ranks), []
            for _ in range(REPEATS):
                start = time.perf_counter()
                plan = Planner(profile, ranks, 4 * ranks, network=network).optimized()
                times_s.append(time.perf_counter() - start)
            medians.setdefault(layers, []).append((ranks, statistics.median(times_s)))
            print(line_of(plan, layers, times_s), flush=True)
    if options.plot:
        options.plot.write_bytes(growth(medians))


def line_of(plan: Plan, layers: int, times_s: list[float]) -> str:
    """Return the line of a plan."""
    proof = "proven" if plan.optimal else f"gap at most {plan.gap:.2%}"
    work = [stage.compute_s for stage in plan.stages]
    between = len(range(HOST_RANKS, len(plan.stages), HOST_RANKS))
    return (
        f"| {layers} | {len(plan.stages)} | {proof} | {max(work) / min(work):.1f} | {between} | "
        f"{statistics.median(times_s):.2f} | {min(times_s):.2f} | {max(times_s):.2f} |"
    )


def two_tiers(profile: Profile, ranks: int) -> NetworkProfile:
    """Return a network of ranks on hosts of eight: fast links within a host, slow ones between two."""
    drawn = random.Random(SEED)  # noqa: S311 - a made-up network
    step_s = profile.whole_step_s

    def rank(number: int) -> RankFacts:
        own_s = step_s * drawn.uniform(0.9, 1.1)
        return RankFacts(host=f"h{number // HOST_RANKS}", address="", core=0, machine=profile.machine, step_s=own_s)

    def link(number: int) -> Link:
        within = (number + 1) % HOST_RANKS != 0
        latency_s, gbit_per_s = (5e-6, 100) if within else (50e-6, 10)
        ways = []
        for _ in range(2):
            s_per_byte = 8e-9 / (gbit_per_s * drawn.uniform(0.5, 1.5))
            ways.append(tuple(latency_s + s_per_byte * size for size in SIZES))
        return Link(sizes_bytes=SIZES, down_s=ways[0], up_s=ways[1])

    return NetworkProfile(
        model=profile.model, model_digest=profile.model_digest, batch_size=profile.batch_size,
        input_shape=profile.input_shape, ranks=tuple(map(rank, range(ranks))), links=tuple(map(link, range(ranks - 1))),
        measured_at="",
    )  # fmt: skip


def growth(medians: dict[int, list[tuple[int, float]]]) -> bytes:
    """Return a plot of the time to plan for more and more ranks, a line for each number of layers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for layers, points in medians.items():
        ranks, seconds = zip(*points, strict=True)
        axes.plot(ranks, seconds, marker="o", markersize=3, label=f"{layers} layers")
    axes.axhline(10, color="grey", linewidth=0.8, linestyle="--")
    axes.set(xscale="log", yscale="log", xlabel="ranks", ylabel=f"planning, s (median of {REPEATS})")
    axes.set_xticks(RANKS, [str(rank) for rank in RANKS])
    return finished(figure)


if __name__ == "__main__":
    main()
