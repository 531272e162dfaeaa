"""What an engine costs: one plan in local shared memory, over local gloo, under torchrun, and what torch has instead.

    python benchmarks/engines.py --model alexnet --batch-size 16 --stages 2 --rounds 5

Runs of all engines are interleaved; each row gives medians over the rounds, the smallest and the largest in brackets.
torch.distributed.pipelining runs the plan as ``examples/torch_pipelining.py`` does, DistributedDataParallel a replica
in each process, about as many samples an update; both as installed, each process on a core.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torchvision
from torch import nn

import stageplan

LOCAL = [sys.executable, "-m", "runtime", "run", "--quiet", "--json"]
EXAMPLE = Path(__file__).parent.parent / "examples" / "torch_pipelining.py"
MICRO_BATCHES, UPDATES, WARM_UP = 8, 3, 1


def main() -> None:
    """Plan once for each model, run every engine in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["alexnet", "vgg16", "resnet50"])
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=32)
    parser.add_argument("--replica", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.replica:
        train_replica(given.replica)
        return
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(given.stages)]
    ours = {
        "local, shared memory": [*LOCAL, "--channel", "shm"],
        "local, gloo": [*LOCAL, "--channel", "gloo"],
        "torchrun, gloo": [*torchrun, "-m", *LOCAL[2:]],
    }
    torchs = {
        "torch.distributed.pipelining 1F1B": [*torchrun, str(EXAMPLE)],
        "DistributedDataParallel": [*torchrun, __file__, "--replica"],
    }
    print("| model | engine | samples/s | of shared memory | sending, ms a minibatch | start and end, s | losses |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for model in given.model:
            plan = Path(folder) / f"{model}.json"
            planner = [sys.executable, "-m", "optimizer", "--model", model, "--batch-size", str(given.batch_size)]
            stages = ["--stages", str(given.stages), "--slice", "none"]  # torch's pipeline cuts no layer inside
            subprocess.run([*planner, *stages, "-o", str(plan), "--quiet"], check=True)
            _compare(model, plan, ours, torchs, given)


def train_replica(path: Path) -> None:
    """Train as one rank of a DistributedDataParallel does, and let the first say how fast they all were."""
    plan = stageplan.load(path)
    if not isinstance(plan, stageplan.Plan):
        raise SystemExit(f"{path} is no plan")
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[rank % len(cores)]})
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    made = torchvision.models.get_model(plan.model, weights=None, num_classes=plan.classes)
    inputs = torch.randn(plan.input_shape)
    labels = torch.randint(plan.classes, (plan.batch_size,))
    model = nn.parallel.DistributedDataParallel(made)
    rule = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    passes = max(1, MICRO_BATCHES // ranks)
    begun_s = 0.0
    for update in range(WARM_UP + UPDATES):
        if update == WARM_UP:
            begun_s = time.perf_counter()
        for number in range(passes):
            model.require_backward_grad_sync = number == passes - 1
            torch.autograd.backward(nn.functional.cross_entropy(model(inputs), labels) / passes)
        rule.step()
        rule.zero_grad()
    if rank == 0:
        samples = UPDATES * passes * ranks * plan.batch_size
        print(f"{samples / (time.perf_counter() - begun_s):.1f} samples/s", flush=True)
    dist.destroy_process_group()


def _compare(
    model: str, plan: Path, ours: dict[str, list[str]], torchs: dict[str, list[str]], given: argparse.Namespace
) -> None:
    speeds: dict[str, list[float]] = {name: [] for name in (*ours, *torchs)}
    sends_s: dict[str, list[float]] = {name: [] for name in ours}
    around_s: dict[str, list[float]] = {name: [] for name in ours}
    losses = set()
    for _ in range(given.rounds):
        for name, command in ours.items():
            begun_s = time.perf_counter()
            result = json.loads(_said([*command, "--plan", str(plan), "--batches", str(given.batches)]))
            around_s[name].append(time.perf_counter() - begun_s - result["makespan_s"])
            speeds[name].append(result["throughput_samples_per_s"])
            sends_s[name].append(sum(stage["send_s"] for stage in result["stages"]))
            losses.add(tuple(result["losses"]))
        for name, command in torchs.items():
            speeds[name].append(float(_said([*command, str(plan)]).split()[-2]))
    base = speeds[next(iter(ours))]
    same = "the same bits" if len(losses) == 1 else "DIFFER"
    for name, own in speeds.items():
        ratios = [one / other for one, other in zip(own, base, strict=True)]
        cells = [_median(own, 1), _median(ratios, 2)]
        if name in ours:
            cells += [_median([one * 1e3 for one in sends_s[name]], 2), _median(around_s[name], 1), same]
        else:
            cells += ["", "", ""]
        print(f"| {model} | {name} | {' | '.join(cells)} |", flush=True)


def _said(command: list[str]) -> str:
    """Return what a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _median(values: list[float], digits: int) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


if __name__ == "__main__":
    main()
