"""The minibatches that stages make themselves: synthetic ones from a seed, before the clock starts.

The first stage makes the inputs, the last one the targets. Minibatches of the user's own come from the execution's
process instead (``runtime.pipeline.feed``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from profiler.capture import inputs_of

POOL = 16
"""How many different synthetic minibatches a run has; minibatch b uses the data of b mod ``POOL``."""

_INPUTS, _TARGETS = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """Which synthetic minibatches to make.

    Attributes:
        shape: Of a minibatch's inputs, the minibatch included.
        vocabulary: Inputs are whole numbers below it; 0 for floats.
        labels: The shape of a minibatch's targets, which are whole numbers below ``classes``.
        pool: How many different ones are going to be asked for, at most ``POOL``.
        seed: What they are drawn from.
        sample: Inputs whose samples are handed out in turn, where a model has several; None: inputs are drawn.
    """

    shape: tuple[int, ...]
    vocabulary: int
    classes: int
    labels: tuple[int, ...]
    pool: int
    seed: int
    sample: Tensor | None = None


def synthetic_inputs(spec: DataSpec) -> list[Tensor]:
    """Return the inputs of the minibatches of a run's pool, each ``(N, …)``."""
    if spec.sample is not None:
        return [spec.sample.roll(minibatch, 0) for minibatch in range(spec.pool)]
    return [inputs(spec.seed, minibatch, spec.shape, spec.vocabulary) for minibatch in range(spec.pool)]


def synthetic_targets(spec: DataSpec) -> list[Tensor]:
    """Return the targets of the minibatches of a run's pool, each ``(N, …)``."""
    return [targets(spec.seed, minibatch, spec.labels, spec.classes) for minibatch in range(spec.pool)]


def inputs(seed: int, minibatch: int, shape: Sequence[int], vocabulary: int = 0) -> Tensor:
    """Return the synthetic inputs of a minibatch."""
    return inputs_of(shape, vocabulary, _generator(seed, minibatch, _INPUTS))


def targets(seed: int, minibatch: int, shape: Sequence[int], classes: int) -> Tensor:
    """Return the synthetic targets of a minibatch, ``(N, …)``."""
    return torch.randint(classes, tuple(shape), generator=_generator(seed, minibatch, _TARGETS))


def _generator(seed: int, minibatch: int, what: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed * POOL + minibatch % POOL) * 2 + what)
