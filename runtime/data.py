"""Seeded synthetic inputs and labels, made before the clock starts."""

from collections.abc import Sequence

import torch
from torch import Tensor

from profiler.inputs import inputs as make

POOL = 16
"""How many different minibatches a run has; minibatch b uses the data of b mod ``POOL``."""

_INPUTS, _LABELS = 0, 1


def inputs(seed: int, minibatch: int, shape: Sequence[int], vocabulary: int = 0) -> Tensor:
    """Return the inputs of a minibatch."""
    return make(shape, vocabulary, _generator(seed, minibatch, _INPUTS))


def labels(seed: int, minibatch: int, batch_size: int, classes: int) -> Tensor:
    """Return the labels of a minibatch, ``(N,)``."""
    return torch.randint(classes, (batch_size,), generator=_generator(seed, minibatch, _LABELS))


def _generator(seed: int, minibatch: int, what: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed * POOL + minibatch % POOL) * 2 + what)
