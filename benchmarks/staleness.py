"""Which correction for staleness? Candidates in one process, on the recurrences that schedules train.

    python benchmarks/staleness.py --lr 0.02 0.1 0.15 --seeds 5

A layer's gradients are computed on the weights that it had τ updates before: 2bw, 1 everywhere; 1f1b with S stages,
S − 1 in the first and 0 in the last, layers spread evenly. As in training, each epoch begins with a pipeline that is
empty. No pipeline runs, so this says what is learnt and nothing about time. The network is one of
``time_to_accuracy.py``, SGD with momentum 0.9 or, with ``--adamw``, AdamW, 64 samples an update; with ``--text`` the
language model of ``examples/language_model.py`` on this project's documentation, AdamW.

    none          the plain rule
    spike         a late gradient does at once what it missed (Kosson et al., 2021)
    prediction    forward and backward on w − τ·η·u, u the rule's last step (SpecTrain, PipeOptim)
    feedback      (1 + τ) times the new step less τ times the last: prediction, as the predicted weights move themselves
    rescheduling  η ÷ (1 + τ) at first, η after a quarter of the updates (PipeMare)
    slower        η ÷ (1 + τ) throughout
    compensation  g + g²·(w − w of then)÷25 (delay compensation of asynchronous SGD)
    nesterov      momentum 0.99, looking ahead along it, gradients discounted (Ajanthan et al., 2025)
    bound         the plain rule, gradients bounded as ours are
    ours          ``profiler.execution.stale_update``: longer memory, what was missed at once, and the bound
"""

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import mean

import torch
from time_to_accuracy import DATA, NETWORKS
from torch import Tensor, nn

from profiler.execution import Moments, correction, write_next, write_version
from profiler.settings import UpdateRule

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import language_model

CANDIDATES = ("none", "spike", "prediction", "feedback", "rescheduling", "slower", "compensation", "nesterov", "bound",
              "ours")  # fmt: skip
KINDS = {"2bw": 1, "1f1b, 2 stages": 2, "1f1b, 4 stages": 4, "1f1b, 8 stages": 8}
ADAMW = UpdateRule(name="adamw", lr=0.0, weight_decay=0.01)
Weights = dict[str, Tensor]


@dataclass(slots=True)
class Late:
    """One weight with its versions of late, whose gradients are ``staleness`` updates old."""

    staleness: int
    weight: Tensor
    moments: Moments
    held: list[Tensor] = field(default_factory=list)
    step: Tensor | None = None

    def begin(self, seen: Tensor) -> None:
        """Begin an epoch: all that is in flight first sees the same version."""
        self.held = [seen]

    def used(self) -> Tensor:
        """Return the version that the next minibatch uses."""
        return self.held[0] if len(self.held) <= self.staleness else self.held[-1 - self.staleness]


def stalenesses(names: list[str], kind: str) -> dict[str, int]:
    """Return by how many updates each parameter's gradients are late."""
    if kind in {"plain", "2bw"}:
        return dict.fromkeys(names, int(kind == "2bw"))
    stages, layers = KINDS[kind], list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    return {name: stages - 1 - layers.index(name.rpartition(".")[0]) * stages // len(layers) for name in names}


def updated(rule: UpdateRule, candidate: str, late: Late, gradient: Tensor, used: Tensor) -> Tensor:
    """Return the next version of a weight under a candidate."""
    tau, out, weight = late.staleness, torch.empty_like(late.weight), late.weight
    correct = correction(rule, tau)
    if candidate == "bound" and correct:
        correct = replace(correct, momentum=rule.momentum if rule.name == "sgd" else rule.betas[0], share=0.0)
    if candidate in {"ours", "bound"} and correct:
        write_version(rule, correct, weight, gradient, late.moments, out=out)
        return out
    if candidate == "nesterov" and tau:
        before = late.weight if late.step is None else late.step
        late.step = weight
        return weight + 0.99 * (weight - before) - rule.lr / (1 - rule.momentum) * (1 - 0.99) * gradient
    if candidate == "compensation":
        gradient = gradient + gradient * gradient * (weight - used) / 25
    write_next(rule, weight, gradient, late.moments, out=out)
    step = weight - out
    if candidate == "spike" and rule.name == "sgd":
        kept = rule.momentum**tau
        step = rule.lr * (kept * late.moments.tensors[0] + (1 - kept) / (1 - rule.momentum) * gradient)
    if candidate == "feedback" and tau:
        last = torch.zeros_like(step) if late.step is None else late.step
        late.step, step = step, (1 + tau) * step - tau * last
    if candidate == "prediction":
        late.step = step
    return weight - step


def seen(candidate: str, late: Late) -> Tensor:
    """Return what minibatches compute on whose forward finds this newest version."""
    if candidate == "prediction" and late.step is not None:
        return late.weight - late.staleness * late.step
    if candidate == "nesterov" and late.step is not None and late.staleness:
        return late.weight + 0.99 * (late.weight - late.step)
    return late.weight


def trained(  # noqa: PLR0917 - a whole training
    network: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], pairs: tuple[Tensor, Tensor], size: int,
    epochs: int, kind: str, candidate: str, rule: UpdateRule,
) -> Weights:  # fmt: skip
    """Train in minibatches of ``size`` and return the weights; empty where a loss was no number."""
    start = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    taus = stalenesses(list(start), kind)
    weights = {name: Late(taus[name], weight, Moments.before_any(rule, weight)) for name, weight in start.items()}
    count, total = 0, epochs * (len(pairs[0]) // size)
    for _ in range(epochs):
        order = torch.randperm(len(pairs[0]))
        for late in weights.values():
            late.begin(seen(candidate, late))
        for number in range(len(order) // size):
            chosen = order[number * size : (number + 1) * size]
            used = {name: late.used().detach().requires_grad_() for name, late in weights.items()}
            value = loss(torch.func.functional_call(network, used, (pairs[0][chosen],)), pairs[1][chosen])
            if not math.isfinite(float(value.detach())):
                return {}
            torch.autograd.backward(value)
            count += 1
            gradients = {name: weight.grad for name, weight in used.items() if weight.grad is not None}
            for name, late in weights.items():
                tau = late.staleness
                power = {"slower": 1.0, "rescheduling": 1 - min(4 * count / total, 1.0)}.get(candidate, 0.0)
                own = replace(rule, lr=rule.lr / (1 + tau) ** power)
                found = updated(own, candidate, late, gradients[name], used[name].detach())
                late.weight = found.detach()
                late.held = [*late.held, seen(candidate, late)][-1 - tau :]
    return {name: late.weight for name, late in weights.items()}


def image_score(
    kind: str, candidate: str, lr: float, seed: int, *, rule: UpdateRule, network_name: str, data: str, epochs: int
) -> float:
    """Return the accuracy after the last epoch, in percent."""
    training, validation = DATA[data](seed)
    torch.manual_seed(seed)
    network, rule = NETWORKS[network_name].build(), replace(rule, lr=lr)
    inputs, targets = training.tensors
    found = trained(network, nn.functional.cross_entropy, (inputs, targets), 64, epochs, kind, candidate, rule)
    network.eval()
    outputs = torch.func.functional_call(network, found, (validation.tensors[0],)) if found else torch.zeros(1, 1)
    return 100 * float((outputs.argmax(1) == validation.tensors[1]).float().mean()) if found else 10.0


def text_score(kind: str, candidate: str, lr: float, seed: int, *, updates: int) -> float:
    """Return the loss on held-out text after so many updates, in nats a character."""
    words = "".join(path.read_text() for path in sorted((Path(__file__).parent.parent / "docs").rglob("*.md")))
    text = torch.tensor(list(words.encode("ascii", "replace")))
    drawn, cut = torch.Generator().manual_seed(seed), len(text) * 9 // 10

    def pieces(part: Tensor, count: int) -> tuple[Tensor, Tensor]:
        starts = torch.randint(len(part) - language_model.LENGTH - 1, (count, 1), generator=drawn)
        chosen = part[starts + torch.arange(language_model.LENGTH + 1)]
        return chosen[:, :-1], chosen[:, 1:]

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    torch.manual_seed(seed)
    network, rule = language_model.LanguageModel(), replace(ADAMW, lr=lr)
    found = trained(network, loss, pieces(text[:cut], 16 * updates), 16, 1, kind, candidate, rule)
    inputs, targets = pieces(text[cut:], 64)
    with torch.inference_mode():
        return float(loss(torch.func.functional_call(network, found, (inputs,)), targets)) if found else math.inf


def main() -> None:
    """Print a line for each candidate: the mean over the seeds, the lowest and the highest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lr", type=float, nargs="+", default=[0.02, 0.1])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--candidate", nargs="+", choices=CANDIDATES, default=CANDIDATES)
    parser.add_argument("--network", choices=["small CNN", "thin ResNet"], default="small CNN")
    parser.add_argument("--data", choices=["digits", "mnist"], default="digits")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--adamw", action="store_true", help="for networks on images, too")
    parser.add_argument("--text", action="store_true")
    parser.add_argument("--updates", type=int, default=400, help="of the language model")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rule = ADAMW if options.adamw else UpdateRule(lr=0.0, momentum=0.9)
    image = partial(image_score, rule=rule, network_name=options.network, data=options.data, epochs=options.epochs)
    score = partial(text_score, updates=options.updates) if options.text else image
    for lr in options.lr:
        for kind in ("plain", *options.kind):
            for candidate in ("none",) if kind == "plain" else options.candidate:
                found = [score(kind, candidate, lr, seed) for seed in range(options.seeds)]
                line = f"{mean(found):.2f} ({min(found):.2f} – {max(found):.2f})"
                print(f"| {lr:g} | {kind} | {candidate} | {line} |", flush=True)


if __name__ == "__main__":
    main()
