"""Make a minibatch's inputs: random floats or token ids, laid out in memory as layers run fastest on them."""

from collections.abc import Sequence

import torch
from torch import Tensor


def inputs_of(shape: Sequence[int], vocabulary: int, generator: torch.Generator) -> Tensor:
    """Return one minibatch: standard normal floats, or token ids below ``vocabulary`` where that is not 0."""
    if vocabulary:
        return torch.randint(vocabulary, tuple(shape), generator=generator)
    return laid_out(torch.randn(tuple(shape), generator=generator))


def laid_out(tensor: Tensor) -> Tensor:
    """Return images ``(N, C, H, W)`` with their channels last in memory, which convolutions run faster on."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
