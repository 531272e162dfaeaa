"""Train a model in this process, as one would without a pipeline: what a pipeline's training is held against."""

import copy
import math
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from profiler.capture import pair_of
from profiler.execution import Loss, called_with, samples_in
from profiler.settings import LearningRate, UpdateRule
from runtime.results import TrainingResult
from runtime.training.evaluate import evaluated, metric_of


class PlainTraining:
    """Trains a model with torch's own optimizer, one update for as many minibatches as in a pipeline.

    It is used as a ``Pipeline`` is, by ``train_epochs``; it keeps no checkpoints.

    Attributes:
        minibatches, epoch, position: As a ``Pipeline`` has them.
    """

    alive, distributed = True, False

    def __init__(
        self, model: nn.Module, loss: Loss, rule: UpdateRule, update_every: int, learning_rate: LearningRate | None
    ) -> None:
        """Prepare to train a model, which changes.

        Args:
            model: In training mode.
            loss: What it is trained for.
            rule: The update rule.
            update_every: Minibatches an update.
            learning_rate: The learning rate of each update; None: the rule's, for all.
        """
        self._model, self._loss, self._rule, self._every, self._rate = model, loss, rule, update_every, learning_rate
        name, arguments = rule.torch_optim
        self._optimizer = getattr(torch.optim, name)(model.parameters(), **arguments)
        self.minibatches = self.epoch = self.position = self._updates = 0
        self.last: TrainingResult | None = None

    @property
    def metric_name(self) -> str:
        """As a ``Pipeline`` has it."""
        return metric_of(self._loss)[0]

    def train(self, loader: Iterable[Any], *, minibatches: int | None = None) -> TrainingResult:
        """Train over a loader once; ``minibatches`` is how many at most."""
        losses: list[float] = []
        samples, start = 0, time.perf_counter()
        for group in _groups(islice(loader, minibatches), self._every):
            self._optimizer.zero_grad()
            for batch in group:
                inputs, targets = pair_of(batch)
                with torch.random.fork_rng(devices=[]):  # so that loaders draw as beside a pipeline
                    torch.manual_seed(self.minibatches + len(losses))
                    outputs = called_with(self._model, inputs)
                loss = self._loss.of(outputs, targets)  # type: ignore[arg-type]
                torch.autograd.backward(loss / len(group))
                losses.append(float(loss.detach()))
                samples += samples_in(inputs)
            self._update()
        self.minibatches += len(losses)
        self.position += len(losses)
        self.last = TrainingResult(
            minibatches=len(losses), samples=samples, seconds=time.perf_counter() - start,
            losses=tuple(loss if math.isfinite(loss) else None for loss in losses), stages=(),
        )  # fmt: skip
        return self.last

    def _update(self) -> None:
        parameters = [each for each in self._model.parameters() if each.grad is not None]
        if self._rule.clip_norm:
            nn.utils.clip_grad_norm_(parameters, self._rule.clip_norm)
        if self._rule.clip:
            nn.utils.clip_grad_value_(parameters, self._rule.clip)
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate(self._updates) if self._rate else self._rule.lr
        self._optimizer.step()
        self._updates += 1

    def evaluate(self, loader: Iterable[Any]) -> float:
        """Return the mean of the metric over a loader's samples."""
        return evaluated(copy.deepcopy(self._model), loader, metric_of(self._loss)[1])

    def save(self, path: Path, states: dict[str, Any] | None = None) -> None:
        """Refuse: nobody goes on from here."""
        raise NotImplementedError

    def save_anywhere(self, path: Path, states: dict[str, Any] | None) -> Path:
        """Refuse likewise."""
        raise NotImplementedError


def _groups(minibatches: Iterator[Any], every: int) -> Iterator[list[Any]]:
    """Yield the minibatches of each update."""
    while group := list(islice(minibatches, every)):
        yield group
