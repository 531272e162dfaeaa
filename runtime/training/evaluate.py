"""Evaluate a model as it stands: the mean of a metric over the samples of a loader."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from profiler.capture import pair_of
from profiler.errors import StageplanError, one_line
from profiler.execution import Loss, OwnLoss, called_with, samples_in
from runtime.errors import InputError
from runtime.training.checkpoint import generators, restore
from runtime.training.metrics import Metric, accuracy


def metric_of(loss: Loss) -> tuple[str, Metric]:
    """Return what a model is evaluated by where nothing is said, with its name: accuracy, or the loss if it is own."""
    return ("loss", loss.function) if isinstance(loss, OwnLoss) else ("accuracy", accuracy)


def evaluated(model: nn.Module, loader: Iterable[Any], metric: Metric) -> float:
    """Return the mean of a metric over a loader's samples; what is drawn afterwards is what it would have been.

    Args:
        model: It is brought into eval mode.
        loader: As for training.
        metric: Given what the model returns, and the targets.

    Raises:
        InputError: The loader holds nothing, or the model cannot be run on it.
    """
    states = generators()
    model.eval()
    total, samples = 0.0, 0
    try:
        with torch.inference_mode():
            for batch in loader:
                inputs, targets = pair_of(batch)
                value = torch.as_tensor(metric(called_with(model, inputs), targets), dtype=torch.float64)
                total += float(value.mean()) * samples_in(inputs)
                samples += samples_in(inputs)
    except StageplanError:
        raise
    except Exception as error:
        raise InputError(
            f"the model cannot be evaluated on the loader: {type(error).__name__}: {one_line(error)}"
        ) from error
    finally:
        restore(states)
    if not samples:
        raise InputError("the loader holds no minibatch; nothing can be evaluated on it")
    return total / samples
