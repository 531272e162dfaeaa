"""Replicated stages: the straight plan for some ranks of one host beside the one with replicas, predicted and measured.

Links are measured first, and both plans made for them; then both run under torchrun in turn, round after round. The
plan with replicas is the one of the smallest bottleneck, whether or not it is predicted to pay. Each measured figure is
a median over the rounds, the smallest and the largest in brackets. Run it with: python benchmarks/hybrid.py --model
alexnet vgg16 --ranks 4 --rounds 5
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from optimizer.plan import NetworkProfile, Plan
from optimizer.planning import Planner
from profiler.files import read_json, to_json
from profiler.profile import Profile

RUNTIME = ["-m", "runtime"]


def main() -> None:
    """Measure links, plan, run both plans in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", nargs="+", default=["alexnet", "vgg16"])
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=48)
    given = parser.parse_args()
    ratios = "predicted ÷ straight | measured ÷ straight"
    print(f"| model | plan | ranks of its stages | cuts behind | predicted samples/s | measured | {ratios} |")
    print("|---|---|---|---|---|---|---|---|")
    for model in given.model:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            _compare(model, given)


def _compare(model: str, given: argparse.Namespace) -> None:
    sizes = ["--model", model, "--batch-size", str(given.batch_size)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(given.ranks)]
    subprocess.run([sys.executable, "-m", "profiler", *sizes, "--quiet", "-o", "profile.json"], check=True)
    subprocess.run([*torchrun, *RUNTIME, "links", *sizes, "--quiet", "-o", "links.json"], check=True, stdout=sys.stderr)
    profile, links = read_json(Path("profile.json"), Profile), read_json(Path("links.json"), NetworkProfile)
    planner = Planner(profile.costs(), given.ranks, given.batches, network=links)
    plans = {"straight": planner.optimized(), "replicated": planner.replicated()}
    measured: dict[str, list[float]] = {name: [] for name in plans}
    for name, plan in plans.items():
        Path(f"{name}.json").write_bytes(to_json(plan))
    for _ in range(given.rounds):
        for name in plans:
            command = [*torchrun, *RUNTIME, "run", "--plan", f"{name}.json", "--quiet", "--json"]
            command += ["--batches", str(given.batches)]
            ran = subprocess.run(command, capture_output=True, text=True, check=True)
            measured[name].append(json.loads(ran.stdout)["throughput_samples_per_s"])
    for name in plans:
        print(f"| {model} | {name} | {_row(plans, measured, name)} |", flush=True)


def _row(plans: dict[str, Plan], measured: dict[str, list[float]], name: str) -> str:
    plan = plans[name]
    promised = plan.predicted.promised_samples_per_s
    ratios = [one / other for one, other in zip(measured[name], measured["straight"], strict=True)]
    cells = [
        " + ".join(str(stage.replicas) for stage in plan.stages),
        ", ".join(plan.cuts) or "–",
        f"{promised:.1f}",
        _median(measured[name], 1),
        f"{promised / plans['straight'].predicted.promised_samples_per_s:.2f}",
        _median(ratios, 2),
    ]
    return " | ".join(cells)


def _median(values: list[float], digits: int) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


if __name__ == "__main__":
    main()
