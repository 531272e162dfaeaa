"""A layer cut into blocks of its output features, and the concat that puts them together.

A block is the same kind of layer with some of the rows of the weight: rows of a linear layer, output channels of a
convolution. While the model trains, each block's rows are a tensor of their own, for they may live in different
processes; to the outside, in ``state_dict``, they stay the one tensor that the layer had.

The concat's backward hands every block a gradient that is dense in memory, as one that came through a slot is: so
kernels see the same layout, and compute the same bits, wherever the cuts fall.
"""

import copy
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn

BLOCK, CONCAT = "block", "concat"


def part_names(layer: str, count: int) -> list[str]:
    """Return what the blocks of a layer are called, in order, and then its concat."""
    return [*(f"{layer}.{BLOCK}{number}" for number in range(count)), f"{layer}.{CONCAT}"]


class Concat(nn.Module):
    """Puts the outputs of blocks together along their features."""

    def __init__(self, dim: int) -> None:
        """Concatenate along dimension ``dim``."""
        super().__init__()
        self.dim = dim

    def forward(self, *parts: Tensor) -> Tensor:
        """Return the output of the layer that was cut."""
        whole: Tensor = _Concat.apply(self.dim, *parts)
        return whole


class _Concat(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, dim: int, *parts: Tensor) -> Tensor:
        context.dim, context.layouts = dim, [(part.shape, part.stride()) for part in parts]
        return torch.cat(parts, dim)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        lengths = [shape[context.dim] for shape, _ in context.layouts]
        gradients = [
            torch.empty_strided(shape, stride, dtype=gradient.dtype).copy_(part)
            for (shape, stride), part in zip(context.layouts, torch.split(gradient, lengths, context.dim), strict=True)
        ]
        return (None, *gradients)


class Blocks(nn.Module):
    """A linear layer or a convolution in blocks; computes what that does, and has its keys in ``state_dict``."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, lengths: Sequence[int]) -> None:
        """Cut ``layer``, which is left as it is, into blocks of so many features each."""
        super().__init__()
        self.count = len(lengths)
        starts = accumulate(lengths, initial=0)
        for number, (start, end) in enumerate(pairwise(starts)):
            self.add_module(f"{BLOCK}{number}", _rows(layer, start, end))
        self.add_module(CONCAT, Concat(feature_dim(layer)))
        self.register_state_dict_post_hook(_put_together)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_take_apart)  # type: ignore[no-untyped-call]

    def parts(self) -> list[nn.Module]:
        """Return the blocks in order, and then the concat."""
        return list(self.children())

    def forward(self, inputs: Tensor) -> Tensor:
        """Run the blocks one after the other and put their outputs together."""
        *blocks, concat = self.parts()
        whole: Tensor = concat(*(block(inputs) for block in blocks))
        return whole


def feature_dim(layer: nn.Module) -> int:
    """Return the dimension of a layer's output that counts its features."""
    return -3 if isinstance(layer, nn.Conv2d) else -1


def _rows(layer: nn.Linear | nn.Conv2d, start: int, end: int) -> nn.Module:
    """Return a layer of the same kind with some of the rows."""
    block = copy.copy(layer)
    block._parameters = {  # noqa: SLF001 - a copy shares its tables with the original
        local: None if whole is None else nn.Parameter(whole.detach()[start:end].clone(), whole.requires_grad)
        for local, whole in layer._parameters.items()  # noqa: SLF001
    }
    block._buffers = {}  # noqa: SLF001
    setattr(block, "out_channels" if isinstance(layer, nn.Conv2d) else "out_features", end - start)
    return block


def _put_together(module: nn.Module, state: dict[str, Any], prefix: str, _metadata: object) -> None:
    """Let a state_dict hold a layer's whole tensors, which are copies, in the place of its blocks'."""
    assert isinstance(module, Blocks)
    for local in _locals(module):
        state[prefix + local] = torch.cat([state.pop(key) for key in _keys(module, prefix, local)])


def _take_apart(module: nn.Module, state: dict[str, Any], prefix: str, *_rest: object) -> None:
    """Let the blocks load their rows of whole tensors."""
    assert isinstance(module, Blocks)
    for local in _locals(module):
        lengths = [len(getattr(block, local)) for block in module.parts()[:-1]]
        whole = state.get(prefix + local)
        if whole is not None and len(whole) == sum(lengths):  # else torch says what is missing, and what too much
            del state[prefix + local]
            state |= dict(zip(_keys(module, prefix, local), torch.split(whole, lengths), strict=True))


def _locals(module: Blocks) -> list[str]:
    return [local for local, _ in module.parts()[0].named_parameters()]


def _keys(module: Blocks, prefix: str, local: str) -> Sequence[str]:
    return [f"{prefix}{BLOCK}{number}.{local}" for number in range(module.count)]
