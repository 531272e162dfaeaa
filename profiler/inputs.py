"""Make the synthetic inputs that profiles are measured on and runs train on."""

from collections.abc import Sequence

import torch
from torch import Tensor


def inputs(shape: Sequence[int], vocabulary: int, generator: torch.Generator) -> Tensor:
    """Return one minibatch: standard normal floats, or token ids below ``vocabulary`` where that is not 0."""
    if vocabulary:
        return torch.randint(vocabulary, tuple(shape), generator=generator)
    return torch.randn(tuple(shape), generator=generator)
