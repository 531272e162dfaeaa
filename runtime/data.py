"""Seeded synthetic images and labels, made before the clock starts."""

from collections.abc import Sequence

import torch
from torch import Tensor

POOL = 16
"""How many different minibatches a run has; minibatch b uses the data of b mod ``POOL``."""

_IMAGES, _LABELS = 0, 1


def images(seed: int, minibatch: int, shape: Sequence[int]) -> Tensor:
    """Return the images of a minibatch, ``(N, C, H, W)``, standard normal."""
    return torch.randn(tuple(shape), generator=_generator(seed, minibatch, _IMAGES))


def labels(seed: int, minibatch: int, batch_size: int, classes: int) -> Tensor:
    """Return the labels of a minibatch, ``(N,)``."""
    return torch.randint(classes, (batch_size,), generator=_generator(seed, minibatch, _LABELS))


def _generator(seed: int, minibatch: int, what: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed * POOL + minibatch % POOL) * 2 + what)
