"""Metrics that a model is evaluated by."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

Metric = Callable[[Any, Tensor], Any]
"""Returns a number for a minibatch, or one for each of its samples, given what the model returns and the targets."""


def accuracy(output: Any, targets: Tensor) -> Tensor:
    """Return for each sample whether the class that scores highest, ``output`` of shape (N, classes), is its own."""
    scores = output[0] if isinstance(output, (tuple, list)) else output
    right: Tensor = scores.argmax(1) == targets
    return right.double()
