"""Tell which numbers in a record follow the size of the minibatch, and where a stage reads them off.

A record has numbers where the model's code works out sizes: ``view(8, 197, 12, 64)``. So a model is recorded twice, on
minibatches of different size. A number that stands at the same place in both, and is not the same, is a size: it is
taken from the tensor nearest to the call, among its own arguments first, of which some dimension d had in both

    number = size(d) · times ÷ over         with whole numbers times and over, one of them 1.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from profiler.capture.following.recorder import Call
from profiler.execution import Ref, Size, leaves
from profiler.profile import INPUT

Shapes = dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
"""The shapes that a value has in the two records, by the call that made it."""


class PartingError(Exception):
    """Two records of one model differ otherwise than by sizes."""


def with_sizes(first: Sequence[Call], second: Sequence[Call], batches: tuple[int, int]) -> list[Call]:
    """Return the calls of a record with sizes in the place of numbers that follow the minibatch.

    Args:
        first: The record; its calls are changed.
        second: Another one, of a minibatch of other values and another size.
        batches: The sizes of the two.
    """
    for own, other in zip(first, second, strict=False):
        if (own.name, own.kind) != (other.name, other.kind):
            raise PartingError(f"it calls '{own.name}' for one minibatch and '{other.name}' for another")
    if len(first) != len(second):
        longer = max(first, second, key=len)
        raise PartingError(f"it calls '{longer[min(len(first), len(second))].name}' for one minibatch only")
    shapes: Shapes = {INPUT: ((batches[0],), (batches[1],))}
    for own, other in zip(first, second, strict=True):
        sizes = _Sizes(own, shapes)
        own.args = sizes.of(own.args, other.args)
        own.kwargs = sizes.of(own.kwargs, other.kwargs)
        if isinstance(own.value, Tensor):
            shapes[own.name] = own.shape, other.shape
    return list(first)


class _Sizes:
    """The sizes among the arguments of one call."""

    def __init__(self, call: Call, shapes: Shapes) -> None:
        self._call, self._shapes = call, shapes
        read = [leaf.layer for leaf in leaves((call.args, call.kwargs)) if isinstance(leaf, Ref)]
        self._near = [*(name for name in read if name in shapes), *reversed(shapes)]

    def of(self, own: Any, other: Any) -> Any:
        """Return an argument as both records have it, or a size where they have two numbers."""
        if isinstance(own, (tuple, list)) and isinstance(other, (tuple, list)) and len(own) == len(other):
            made = [self.of(left, right) for left, right in zip(own, other, strict=True)]
            return tuple(made) if isinstance(own, tuple) else made
        if isinstance(own, dict) and isinstance(other, dict) and own.keys() == other.keys():
            return {key: self.of(value, other[key]) for key, value in own.items()}
        if isinstance(own, slice) and isinstance(other, slice):
            ends = [(own.start, other.start), (own.stop, other.stop), (own.step, other.step)]
            return slice(*(self.of(left, right) for left, right in ends))
        if isinstance(own, Tensor) and isinstance(other, Tensor):
            if own.shape != other.shape or not own.equal(other):
                raise PartingError(
                    f"'{self._call.name}' reads a tensor that no call of torch made, and that depends on the minibatch"
                )
            return own
        if type(own) is type(other) and (own == other or own is other or repr(own) == repr(other) == "nan"):
            return own
        if type(own) is type(other) is int:
            return self._size(own, other)
        raise PartingError(f"'{self._call.name}' is called with {own!r} for one minibatch and {other!r} for another")

    def _size(self, number: int, other: int) -> Size:
        for name in self._near:
            for dim, (size, another) in enumerate(zip(*self._shapes[name], strict=False)):
                if size == another or not size or not another:
                    continue
                if number % size == 0 and number // size * another == other:
                    return Size(name, dim, times=number // size)
                if number and size % number == 0 and size // number * other == another:
                    return Size(name, dim, over=size // number)
        raise PartingError(
            f"'{self._call.name}' is called with the number {number} for one minibatch and {other} for another, which "
            "no size tells"
        )
