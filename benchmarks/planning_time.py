"""How long planning takes once the profile is loaded: all work from the Profile object to the finished Plan.

    python benchmarks/planning_time.py profiles/*.json --chain 2000 64 --plot docs/results/planning-time.svg

Each profile is planned for twenty times, or for two minutes, in a process of its own, whose resident size is read
before and at its peak. A chain's times are drawn from a lognormal distribution, spread as real layers' are. ``--plot``
draws how time grows with the layers and stages of such chains.
"""

import argparse
import io
import random
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from optimizer.plan import Plan
from optimizer.planning import Planner
from profiler.files import read_json
from profiler.profile import INPUT, Edge, Profile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPEATS, MOST_S = 20, 120.0
LAYERS, STAGES = (50, 100, 200, 500, 1000, 2000), (2, 4, 16, 64)


def main() -> None:
    """Print one line for each profile and chain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile", nargs="+", type=Path, help="a chain takes a layer's other fields from the first one")
    parser.add_argument("--stages", type=int, default=4)
    parser.add_argument("--chain", nargs=2, type=int, metavar=("LAYERS", "STAGES"))
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        profile = read_json(options.profile[0], Profile)
        sys.stdout.write(line_of(chain_like(profile, options.chain[0]) if options.chain else profile, options.stages))
        return
    print("| graph | layers | stages | legal cuts | bottleneck | median ms | lowest | highest | MiB more |")
    print("|---|---:|---:|---:|---|---:|---:|---:|---:|")
    jobs = [[str(path), "--stages", str(options.stages)] for path in options.profile]
    if options.chain:
        layers, stages = map(str, options.chain)
        jobs.append([str(options.profile[0]), "--stages", stages, "--chain", layers, stages])
    for job in jobs:
        done = subprocess.run([sys.executable, __file__, "--one", *job], stdout=subprocess.PIPE, text=True, check=True)
        print(done.stdout, end="", flush=True)
    if options.plot:
        options.plot.write_bytes(growth(read_json(options.profile[0], Profile)))


def line_of(profile: Profile, stages: int) -> str:
    """Plan again and again and return the line of a profile."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plan, times_ms = timed(profile, stages, REPEATS)
    more_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    candidates = len(Planner(profile, stages, 16).candidates.ideals)
    proof = "proven" if plan.optimal else f"gap at most {plan.gap:.2%}"
    return (
        f"| {profile.model} | {len(profile.layers)} | {stages} | {candidates:,} | {proof} | "
        f"{statistics.median(times_ms):.1f} | {min(times_ms):.1f} | {max(times_ms):.1f} | {more_mib:.0f} |\n"
    )


def timed(profile: Profile, stages: int, repeats: int) -> tuple[Plan, list[float]]:
    """Return the plan and how long it took to make, each time."""
    times_ms: list[float] = []
    while not times_ms or (len(times_ms) < repeats and sum(times_ms) < MOST_S * 1e3):
        start = time.perf_counter()
        plan = Planner(profile, stages, 16).optimized()
        times_ms.append((time.perf_counter() - start) * 1e3)
    return plan, times_ms


def chain_like(profile: Profile, layers: int) -> Profile:
    """Return a chain whose layers have the sizes of the profile's in turn, and times drawn by lot."""
    drawn = random.Random(layers)  # noqa: S311 - made-up times
    found = []
    for number in range(layers):
        forward_s, backward_s, update_s = (1e-3 * drawn.lognormvariate(0, 1.5) for _ in range(3))
        like = profile.layers[number % len(profile.layers)]
        found.append(
            replace(like, name=f"l{number}", forward_s=forward_s, backward_s=backward_s, update_s=update_s, rounds_s=())
        )
    names = [INPUT, *(layer.name for layer in found)]
    edges = tuple(Edge(source=names[at], target=names[at + 1]) for at in range(layers))
    outputs = (names[-1],)
    made = replace(
        profile, model=f"a chain of {layers}", layers=tuple(found), edges=edges, inseparable=(), outputs=outputs
    )
    return msgspec.convert(msgspec.to_builtins(made), Profile)


def growth(profile: Profile) -> bytes:
    """Return a plot of the time to plan for chains of more and more layers, a line for each number of stages."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for stages in STAGES:
        layers = [count for count in LAYERS if count >= 2 * stages]
        medians = [statistics.median(timed(chain_like(profile, count), stages, 5)[1]) for count in layers]
        axes.plot(layers, medians, marker="o", markersize=3, label=f"{stages} stages")
        print(f"{stages} stages: " + ", ".join(f"{a} layers {b:.0f} ms" for a, b in zip(layers, medians, strict=True)))
    axes.set(xscale="log", yscale="log", xlabel="layers of a chain", ylabel="planning, ms (median of 5)")
    return finished(figure)


def finished(figure: "Figure") -> bytes:
    """Return a figure of one plot as SVG, with a grid and a legend."""
    (axes,) = figure.axes
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False)
    text = io.BytesIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


if __name__ == "__main__":
    main()
