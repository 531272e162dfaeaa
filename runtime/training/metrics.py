"""Metrics that a model is evaluated by."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from profiler.execution import IGNORED, cross_entropy

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
