"""Does it learn? A small network on scikit-learn's digits: pipelines against one plain process, seed by seed.

python benchmarks/learns.py --seeds 5 --epochs 12
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median

import torch
from torch import nn

import stageplan
from profiler.machine import usable_cores

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from digits import loaders, network, sample

TARGET, RATE, MOMENTUM = 0.95, 0.02, 0.9
Curve = list[tuple[float, float]]
"""After each epoch: the seconds trained so far, and the share of the validation images that are right."""


def plain(seed: int, epochs: int, threads: int) -> Curve:
    """Train in one process."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    model, (training, validation) = network(), loaders(seed)
    torch.manual_seed(seed)
    sgd = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    curve: Curve = []
    seconds = 0.0
    for _ in range(epochs):
        start = time.perf_counter()
        for inputs, targets in training:
            sgd.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(model(inputs), targets))
            sgd.step()
        seconds += time.perf_counter() - start
        model.eval()
        with torch.inference_mode():
            right = sum(int((model(inputs).argmax(1) == targets).sum()) for inputs, targets in validation)
        model.train()
        curve.append((seconds, right / sum(len(targets) for _, targets in validation)))
    return curve


def pipelined(seed: int, epochs: int, plan: stageplan.Plan) -> Curve:
    """Train in a pipeline, from the same weights and over the same minibatches."""
    torch.manual_seed(seed)
    model, (training, validation) = network(), loaders(seed)
    torch.manual_seed(seed)
    curve: Curve = []
    seconds = 0.0
    with stageplan.Pipeline(model, plan, update=stageplan.SGD(lr=RATE, momentum=MOMENTUM)) as pipeline:
        for _ in range(epochs):
            start = time.perf_counter()
            pipeline.train(training)
            seconds += time.perf_counter() - start
            curve.append((seconds, pipeline.evaluate(validation)))
    return curve


def reached_s(curve: Curve) -> float:
    """Return when the target was reached; infinity where it was not."""
    return next((seconds for seconds, share in curve if share >= TARGET), float("inf"))


def main() -> None:
    """Print the curves, and for each way of training the last accuracies and the times to the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    profile = stageplan.profile(network(), sample(), budget_s=10)
    plans = {stages: stageplan.plan(profile, stages=stages) for stages in (2, 4)}
    print(f"{len(usable_cores())} cores, torch {torch.__version__}, {options.epochs} epochs, lr {RATE}")
    ways: dict[str, Callable[[int], Curve]] = {
        "plain, 1 thread": lambda seed: plain(seed, options.epochs, 1),
        "plain, 2 threads": lambda seed: plain(seed, options.epochs, 2),
        "1f1b, 2 stages": lambda seed: pipelined(seed, options.epochs, plans[2]),
        "1f1b, 4 stages": lambda seed: pipelined(seed, options.epochs, plans[4]),
    }
    curves: dict[str, list[Curve]] = {name: [] for name in ways}
    for seed in range(options.seeds):
        for name, train in ways.items():
            curves[name].append(train(seed))
    for name, own in curves.items():
        last = [curve[-1][1] for curve in own]
        times = [reached_s(curve) for curve in own]
        by_epoch = " ".join(f"{mean(curve[epoch][1] for curve in own):.3f}" for epoch in range(options.epochs))
        print(f"{name}: last {mean(last):.4f} ({min(last):.4f} – {max(last):.4f}), ", end="")
        print(f"{TARGET:.0%} after {median(times):.2f} s ({min(times):.2f} – {max(times):.2f}); epochs {by_epoch}")


if __name__ == "__main__":
    main()
