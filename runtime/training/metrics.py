"""Metrics that a model is evaluated by."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from profiler.execution import cross_entropy

Metric = Callable[[Any, Any], Any]
"""Returns a number for a minibatch, or one for each of its samples, given what the model returns and the targets."""


def accuracy(output: Any, targets: Tensor) -> Tensor:
    """Return for each sample the share of its targets that have the highest score; of one target, 0 or 1.

    Args:
        output: What the model returns; scores ``(N, …, classes)`` in it, its main head's.
        targets: ``(N, …)``; those below 0 do not count.
    """
    right: Tensor = (cross_entropy.heads(output)[0].argmax(-1) == targets).double()
    if targets.dim() == 1:
        return right
    counts = (targets >= 0).double().flatten(1)
    shares: Tensor = (right.flatten(1) * counts).sum(1) / counts.sum(1).clamp(min=1)
    return shares
