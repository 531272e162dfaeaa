"""Does a pipeline learn what one process does? Every loss and weight of both, bit for bit, and what was learnt.

    python benchmarks/exact.py --lr 0.02 0.1 0.15 --seeds 5 --epochs 10
    python benchmarks/exact.py --text --lr 0.003 --seeds 2 --updates 400

One process runs the model itself on the same minibatches, cut into the same parts, adds up their gradients, and updates
by the update rule that ``profiler.execution`` has. Pipelines of two, four and eight stages train with ``Pipeline``'s
defaults. Networks: a small CNN on scikit-learn's digits, SGD with momentum 0.9; with ``--text`` the language model of
the examples on this project's documentation, AdamW. Stages share cores here: what is compared is no time.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import stageplan
from profiler.capture import laid_out
from profiler.execution import Moments, write_next
from profiler.machine import pinned, this_machine, usable_cores
from profiler.settings import UpdateRule

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import language_model
from digits import loaders as digits_loaders
from digits import network as small_cnn

STAGES = (2, 4, 8)
Minibatches = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Task:
    """A network, its data, its update rule at a learning rate, and the samples of a minibatch and of a part."""

    build: Callable[[], nn.Module]
    data: Callable[[int], tuple[TensorDataset, TensorDataset]]
    rule: Callable[[float], UpdateRule]
    samples: int
    part: int


def digits(seed: int) -> tuple[TensorDataset, TensorDataset]:
    """Return scikit-learn's digits, shuffled by ``seed`` and split."""
    training, validation = digits_loaders(seed)
    assert isinstance(training.dataset, TensorDataset)
    assert isinstance(validation.dataset, TensorDataset)
    return training.dataset, validation.dataset


def documentation(seed: int) -> tuple[TensorDataset, TensorDataset]:
    """Return pieces of this project's documentation, each with the same a character later."""
    pages = sorted((Path(__file__).parent.parent / "docs").rglob("*.md"))
    text = torch.tensor(list("".join(page.read_text() for page in pages).encode("ascii", "replace")))
    drawn, cut = torch.Generator().manual_seed(seed), len(text) * 9 // 10

    def pieces(part: Tensor, count: int) -> TensorDataset:
        starts = torch.randint(len(part) - language_model.LENGTH - 1, (count, 1), generator=drawn)
        chosen = part[starts + torch.arange(language_model.LENGTH + 1)]
        return TensorDataset(chosen[:, :-1].contiguous(), chosen[:, 1:].contiguous())

    return pieces(text[:cut], 6400), pieces(text[cut:], 256)


CNN = Task(small_cnn, digits, lambda lr: stageplan.SGD(lr=lr, momentum=0.9), samples=64, part=4)
TEXT = Task(language_model.LanguageModel, documentation, lambda lr: stageplan.AdamW(lr=lr), samples=16, part=1)


def minibatches_of(data: TensorDataset, size: int, epochs: int, most: int | None) -> Minibatches:
    """Return the minibatches of all epochs, shuffled anew for each."""
    loader = DataLoader(data, batch_size=size, shuffle=True)
    return [(inputs, targets) for _ in range(epochs) for inputs, targets in loader][:most]


def right(model: nn.Module, data: TensorDataset) -> float:
    """Return the share of right answers."""
    inputs, targets = data.tensors
    with torch.inference_mode():
        return float((model.eval()(inputs).argmax(-1) == targets).float().mean())


def in_one_process(task: Task, rule: UpdateRule, minibatches: Minibatches) -> tuple[list[float], nn.Module]:
    """Train the model itself, and return its losses with it."""
    model = task.build().train().to(memory_format=torch.channels_last)
    weights = list(model.parameters())
    moments = [Moments.before_any(rule, weight.detach()) for weight in weights]
    losses = []
    for inputs, targets in minibatches:
        loss, parts = 0.0, -(-len(inputs) // task.part)
        cut = zip(laid_out(inputs).tensor_split(parts), targets.tensor_split(parts), strict=True)
        for own, theirs in cut:
            found = nn.functional.cross_entropy(model(own).flatten(0, -2), theirs.flatten())
            share = len(own) / len(inputs)
            torch.autograd.backward(found, torch.tensor(share))
            loss += share * float(found.detach())
        losses.append(loss)
        with torch.no_grad():
            for weight, own_moments in zip(weights, moments, strict=True):
                write_next(rule, weight, weight.grad, own_moments, out=weight)
                weight.grad = None
    return losses, model


def in_pipelines(
    task: Task, rule: UpdateRule, minibatches: Minibatches, seed: int
) -> Iterator[tuple[int, tuple[float | None, ...], nn.Module]]:
    """Train in pipelines from the same weights, and yield their stages, losses and models."""
    sample = tuple(tensor[: task.part] for tensor in minibatches[0])
    torch.manual_seed(seed)
    profile = stageplan.profile(task.build(), sample, budget_s=2)
    for stages in STAGES:
        torch.manual_seed(seed)
        model = task.build()
        plan = stageplan.plan(profile, stages=stages, schedule="zero-bubble")
        with stageplan.Pipeline(model, plan, update=rule) as pipeline:
            losses = pipeline.train(minibatches).losses
            model.load_state_dict(pipeline.state_dict())
        yield stages, losses, model


def compare(task: Task, lr: float, seeds: Sequence[int], epochs: int, updates: int | None) -> None:
    """Print for each seed whether pipelines learnt what one process does, and what that is."""
    rule = task.rule(lr)
    for seed in seeds:
        torch.manual_seed(seed)
        training, validation = task.data(seed)
        minibatches = minibatches_of(training, task.samples, epochs, updates)
        torch.manual_seed(seed)
        with pinned(usable_cores()[0]):
            losses, model = in_one_process(task, rule, minibatches)
        said = []
        for stages, own, other in in_pipelines(task, rule, minibatches, seed):
            same = sum(first == second for first, second in zip(losses, own, strict=True))
            weights = all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in other.state_dict().items())
            said.append(
                f"{stages} stages: {same} of {len(losses)} losses and {'all' if weights else 'NOT all'} weights the "
                f"same, {right(other, validation):.2%}"
            )
        print(f"lr {lr:g}, seed {seed}: one process {right(model, validation):.2%}; {'; '.join(said)}", flush=True)


def main() -> None:
    """Print a line for each learning rate and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lr", nargs="+", type=float, default=[0.02, 0.1, 0.15])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--updates", type=int, help="stop after so many")
    parser.add_argument("--text", action="store_true", help="the language model")
    options = parser.parse_args()
    here = this_machine()
    print(f"{here.cpu}, torch {here.torch}")
    for lr in options.lr:
        compare(TEXT if options.text else CNN, lr, range(options.seeds), options.epochs, options.updates)


if __name__ == "__main__":
    main()
