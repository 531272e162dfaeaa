"""Evaluate a model as it stands: the mean of a metric over the samples or labels of a loader; accuracy, a metric."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from profiler.capture import pair_of
from profiler.errors import StageplanError, one_line
from profiler.execution import IGNORED, Loss, OwnLoss, called_with, cross_entropy, samples_in
from runtime.errors import InputError
from runtime.training.checkpoint import generators, restore

Metric = Callable[[Any, Any], Any]
"""Returns a number for a minibatch, or one for each of its samples or labels that count, given what the model returns
and the targets.
"""


def accuracy(output: Any, targets: Tensor) -> Tensor:
    """Return for each label that counts 1 where its class has the highest score, else 0.

    Args:
        output: What the model returns; scores ``(N, …, classes)`` in it, its main head's.
        targets: ``(N, …)``; those of -100 do not count.
    """
    right: Tensor = cross_entropy.heads(output)[0].argmax(-1) == targets
    return right[targets != IGNORED].double()


def metric_of(loss: Loss) -> tuple[str, Metric]:
    """Return what a model is evaluated by where nothing is said, with its name: accuracy, or the loss if it is own."""
    return ("loss", loss.function) if isinstance(loss, OwnLoss) else ("accuracy", accuracy)


def evaluated(model: nn.Module, loader: Iterable[Any], metric: Metric) -> float:
    """Return the mean of a metric over all that it counts; what is drawn afterwards is what it would have been.

    Args:
        model: It is brought into eval mode.
        loader: As for training.
        metric: Given what the model returns, and the targets. A single number weighs as many as there are samples.
    """
    states = generators()
    model.eval()
    total, counted, minibatches = 0.0, 0, 0
    try:
        with torch.inference_mode():
            for batch in loader:
                inputs, targets = pair_of(batch)
                values = torch.as_tensor(metric(called_with(model, inputs), targets), dtype=torch.float64)
                values = values if values.dim() else values.expand(samples_in(inputs))
                total, counted, minibatches = total + float(values.sum()), counted + values.numel(), minibatches + 1
    except StageplanError:
        raise
    except Exception as error:
        raise InputError(
            f"the model cannot be evaluated on the loader: {type(error).__name__}: {one_line(error)}"
        ) from error
    finally:
        restore(states)
    if not minibatches:
        raise InputError("the loader holds no minibatch; nothing can be evaluated on it")
    if not counted:
        raise InputError(f"the metric counts nothing in the loader, as where all labels are {IGNORED}; give others")
    return total / counted
