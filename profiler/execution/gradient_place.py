"""The place of a linear layer's weight gradient, in which each backward writes it anew.

Otherwise every backward asks the heap for room, and a heap rarely gives the same room twice: to align it, glibc before
2.38 wants 96 bytes more than what was freed has. A stage with AlexNet's largest layer then holds one or two copies of a
144 MiB gradient that nobody reads. What is computed is what torch computes, bit for bit, where the layer is run once in
a minibatch and nothing else reads its weight: of several uses, autograd first makes one sum.

A further minibatch's gradient is added row by row, in pieces that stay in the cache: a product in memory of its own
would be written, read, and take as much room as the weight. Each piece is rounded as the whole product is, which is
tried on drawn numbers before the first sum; where it is not so, the whole product is added.

Under autocast the product is bfloat16, and stays it until the update, which reads it, and casts the weight that it
writes while both are in the cache. That is what autocast computes, without gradients in float32 and casts in the
forward.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from profiler.execution.autocast import LOWER

LARGE_BYTES = 1 << 20
"""From this size on, a weight's gradient has a place."""
PIECE_BYTES, LEAST_ROWS, FEW = 4 << 20, 16, 32
"""How large a piece of a product is, how many rows it has at least, and of how many samples such products are."""
_PLACE, _CAST = "gradient_place", "weight_cast"


class GradientPlace:
    """Where the gradient of a weight goes, whichever version it is of.

    Attributes:
        lower: The gradient of a single minibatch in bfloat16, which nobody has asked for in float32 yet.
    """

    def __init__(self, weight: Tensor) -> None:
        """Make a place for gradients of ``weight``; it takes memory when it is used first."""
        self.autocast = False
        self.lower: Tensor | None = None
        self._like = weight
        self._whole: Tensor | None = None
        self._product: Tensor | None = None
        self._in_pieces: dict[int, bool] = {}

    @property
    def whole(self) -> Tensor:
        """The place in float32."""
        if self._whole is None:
            self._whole = torch.empty_like(self._like)
        return self._whole

    @property
    def product(self) -> Tensor:
        """The place in bfloat16."""
        if self._product is None:
            self._product = torch.empty_like(self._like, dtype=LOWER)
        return self._product

    def add_lower(self, weight: nn.Parameter, left: Tensor, right: Tensor) -> None:
        """Add a product in bfloat16 to the gradient of ``weight``."""
        if self.lower is not None:
            weight.grad, self.lower = self.whole.copy_(self.lower), None
        product = torch.mm(left, right, out=self.product)
        if weight.grad is None:
            self.lower = product
        else:
            weight.grad += product

    def add(self, weight: nn.Parameter, left: Tensor, right: Tensor) -> None:
        """Add a product in float32 to the gradient of ``weight``."""
        samples = len(right)
        if weight.grad is None:
            if samples not in self._in_pieces:
                self._in_pieces[samples] = samples <= FEW and self._agrees(samples)
            weight.grad = torch.mm(left, right, out=self.whole)
        elif self._in_pieces.get(samples, False):
            for rows, piece in _products(left, right):
                weight.grad[rows] += piece
        else:
            weight.grad += left @ right

    def _agrees(self, samples: int) -> bool:
        """Say whether pieces of a product have the bits of the whole, on drawn numbers; ``whole`` is written over."""
        draw = torch.Generator().manual_seed(samples)
        left, right = (torch.randn(samples, size, generator=draw) for size in self._like.shape)
        whole = torch.mm(left.t(), right, out=self.whole)
        return all(torch.equal(piece, whole[rows]) for rows, piece in _products(left.t(), right))


def _products(left: Tensor, right: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield the product of two matrices some rows at a time, all in the same room."""
    height = max(LEAST_ROWS, PIECE_BYTES // (right.shape[1] * right.itemsize) // LEAST_ROWS * LEAST_ROWS)
    room = torch.empty(height, right.shape[1])
    for start in range(0, len(left), height):
        rows = slice(start, min(start + height, len(left)))
        yield rows, torch.mm(left[rows], right, out=room[: rows.stop - start])


def give_place(weight: nn.Parameter, place: GradientPlace) -> None:
    """Let linear layers write the gradient of ``weight`` to ``place``."""
    setattr(weight, _PLACE, place)


def place_of(weight: Tensor) -> GradientPlace | None:
    """Return where linear layers write the gradient of ``weight``; None where it has no place."""
    place: GradientPlace | None = getattr(weight, _PLACE, None)
    return place


def has_place(module: object, inputs: Any) -> TypeGuard[nn.Linear]:
    """Say whether ``module`` is a linear layer whose weight's gradient has a place, and ``inputs`` are a matrix."""
    return type(module) is nn.Linear and hasattr(module.weight, _PLACE) and inputs.dim() == 2


@cache
def onednn_lowers() -> bool:
    """Say whether oneDNN makes products in bfloat16, whose bits do not depend on how their operands lie in memory."""
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(available and torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - nothing else tells


def cast_place(weight: nn.Parameter) -> Tensor:
    """Return the place of a weight's cast; what is in it no minibatch uses, if the weight may be written to."""
    _, cast = getattr(weight, _CAST, (None, None))
    return torch.empty_like(weight, dtype=LOWER) if cast is None else cast


def keep_cast(weight: nn.Parameter, cast: Tensor) -> None:
    """Note that ``cast`` is the weight in bfloat16, until it is written to again."""
    setattr(weight, _CAST, (weight._version, cast))  # noqa: SLF001 - the only way to see a write


def newest_cast(weight: nn.Parameter) -> Tensor:
    """Return a weight in bfloat16, cast where it was written to since."""
    cast: Tensor
    made, cast = getattr(weight, _CAST, (None, weight))
    if made != weight._version:  # noqa: SLF001
        cast = cast_place(weight).copy_(weight.detach())
        keep_cast(weight, cast)
    return cast
