"""What an engine costs: the same plan in local shared memory, over local gloo, and under torchrun on one host.

Runs of all engines are interleaved; each row gives medians over the rounds, the smallest and the largest in brackets.
Run it with: python benchmarks/engines.py --model alexnet --batch-size 16 --stages 2 --rounds 5
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LOCAL = [sys.executable, "-m", "runtime", "run", "--quiet", "--json"]


def main() -> None:
    """Plan once for each model, run every engine in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", nargs="+", default=["alexnet", "vgg16", "resnet50"])
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=32)
    given = parser.parse_args()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(given.stages)]
    engines = {
        "local, shared memory": [*LOCAL, "--channel", "shm"],
        "local, gloo": [*LOCAL, "--channel", "gloo"],
        "torchrun, gloo": [*torchrun, "-m", *LOCAL[2:]],
    }
    print("| model | engine | samples/s | of shared memory | sending, ms a minibatch | start and end, s | losses |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for model in given.model:
            plan = Path(folder) / f"{model}.json"
            planner = [sys.executable, "-m", "optimizer", "--model", model, "--batch-size", str(given.batch_size)]
            subprocess.run([*planner, "--stages", str(given.stages), "-o", str(plan), "--quiet"], check=True)
            _compare(model, plan, engines, given.rounds, given.batches)


def _compare(model: str, plan: Path, engines: dict[str, list[str]], rounds: int, batches: int) -> None:
    speeds: dict[str, list[float]] = {name: [] for name in engines}
    sends_s: dict[str, list[float]] = {name: [] for name in engines}
    around_s: dict[str, list[float]] = {name: [] for name in engines}
    losses = set()
    for _ in range(rounds):
        for name, command in engines.items():
            begun_s = time.perf_counter()
            ran = subprocess.run(
                [*command, "--plan", str(plan), "--batches", str(batches)], capture_output=True, text=True, check=True
            )
            result = json.loads(ran.stdout)
            around_s[name].append(time.perf_counter() - begun_s - result["makespan_s"])
            speeds[name].append(result["throughput_samples_per_s"])
            sends_s[name].append(sum(stage["send_s"] for stage in result["stages"]))
            losses.add(tuple(result["losses"]))
    base = speeds[next(iter(engines))]
    for name in engines:
        ratios = [one / other for one, other in zip(speeds[name], base, strict=True)]
        cells = [_median(speeds[name], 1), _median(ratios, 2)]
        cells += [_median([one * 1e3 for one in sends_s[name]], 2), _median(around_s[name], 1)]
        same = "the same bits" if len(losses) == 1 else "DIFFER"
        print(f"| {model} | {name} | {' | '.join(cells)} | {same} |", flush=True)


def _median(values: list[float], digits: int) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


if __name__ == "__main__":
    main()
