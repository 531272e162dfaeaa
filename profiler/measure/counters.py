"""Count the work that operators do: floating-point operations, and the bytes that they touch.

Convolutions and matrix products count as torch.utils.flop_counter counts them, a multiply-add as two. Any other
operator counts one operation for each element of the largest tensor that it reads or writes, and none if it only moves
data. Bytes touched are those of every tensor read and every tensor written, once each: what memory traffic would be if
nothing stayed in a cache between two operators. Views touch nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten

MOVES = {
    aten.copy_, aten.clone, aten._to_copy, aten.fill_, aten.zero_, aten.cat, aten.stack, aten.constant_pad_nd,  # noqa: SLF001
    aten.zeros, aten.zeros_like, aten.ones, aten.ones_like, aten.full, aten.full_like, aten.new_zeros, aten.roll,
}  # fmt: skip
GATHERS = {aten.embedding, aten.index, aten.index_select, aten.gather}
"""They read of their first tensor no more than they write."""
ALLOCATIONS = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided}


class Work:
    """Counts while ``counting`` lasts; ``flops()`` and ``touched_bytes()`` read the counters."""

    def __init__(self) -> None:
        """Start from zero."""
        self._products = FlopCounterMode(display=False, custom_mapping=_attention_on_cpu() | _on_cpu_only())
        self._elements = 0
        self._bytes = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count every operator that runs meanwhile."""
        with self._products, _Watch(self._count):
            yield

    def flops(self) -> int:
        """Return the floating-point operations so far."""
        return self._products.get_total_flops() + self._elements

    def touched_bytes(self) -> int:
        """Return the bytes read and written so far."""
        return self._bytes

    def _count(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        packet, schema = func.overloadpacket, func._schema  # noqa: SLF001 - nothing else tells what it overwrites
        read, written = _tensors((args, kwargs)), _tensors(result)
        if packet in ALLOCATIONS or (not schema.is_mutable and _alias(read, written)):
            return
        if packet in GATHERS:
            self._bytes += sum(map(_size, read[1:])) + 2 * sum(map(_size, written))
            return
        self._bytes += sum(_size(tensor) * times for tensor, times in _uses(schema.arguments, args, kwargs))
        self._bytes += sum(_size(tensor) for tensor in written if not _alias(read, [tensor]))
        if packet not in MOVES and packet not in self._products.flop_registry:
            self._elements += max((tensor.numel() for tensor in (*read, *written)), default=0)


@contextmanager
def casts(to: torch.dtype) -> Iterator[list[int]]:
    """Yield the addresses of what is cast to a type meanwhile."""
    addresses: list[int] = []

    def seen(func: Any, args: tuple[Any, ...], _kwargs: Mapping[str, Any], result: Any) -> None:
        if func.overloadpacket is aten._to_copy and result.dtype == to:  # noqa: SLF001
            addresses.append(args[0].data_ptr())

    with _Watch(seen):
        yield addresses


class _Watch(TorchDispatchMode):
    """Tells ``seen`` of every operator that has run."""

    def __init__(self, seen: Callable[..., None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seen = seen

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._seen(func, args, kwargs or {}, result)
        return result


def _uses(arguments: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[tuple[Tensor, int]]:
    """Yield each tensor argument with how often it is touched: read, and written where the operator overwrites it."""
    for at, argument in enumerate(arguments):
        value = args[at] if at < len(args) else kwargs.get(argument.name)
        overwritten = argument.alias_info is not None and argument.alias_info.is_write
        for tensor in _tensors(value):
            yield tensor, (0 if argument.is_out else 1) + int(overwritten)


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _size(tensor: Tensor) -> int:
    """Return what a tensor takes in memory; one that was expanded takes less than its shape says."""
    return min(tensor.nbytes, tensor.untyped_storage().nbytes())


def _alias(first: list[Tensor], second: list[Tensor]) -> bool:
    storages = {tensor.untyped_storage().data_ptr() for tensor in first if tensor.nbytes}
    return any(tensor.untyped_storage().data_ptr() in storages for tensor in second)


def _attention_on_cpu() -> dict[Any, Callable[..., int]]:
    """Count fused attention on a CPU, which flop_counter leaves out: two matrix products, five in the backward."""

    def forward(query: Any, key: Any, value: Any, *_rest: Any, **_named: Any) -> int:
        (*batch, rows, width), columns = query, key[-2]
        return int(2 * prod(batch) * rows * columns * (width + value[-1]))

    def backward(_gradient: Any, query: Any, key: Any, value: Any, *_rest: Any, **_named: Any) -> int:
        (*batch, rows, width), columns = query, key[-2]
        return int(2 * prod(batch) * rows * columns * (3 * width + 2 * value[-1]))

    return {
        aten._scaled_dot_product_flash_attention_for_cpu: forward,  # noqa: SLF001
        aten._scaled_dot_product_flash_attention_for_cpu_backward: backward,  # noqa: SLF001
    }


def _on_cpu_only() -> dict[Any, Callable[..., int]]:
    """Count the products of recurrent layers, which a library for CPUs runs as one operator, and of bilinear ones."""

    def recurrent(inputs: Any, first: Any, second: Any, *_rest: Any, **_named: Any) -> int:
        return int(2 * prod(inputs[:-1]) * (prod(first) + prod(second)))

    def recurrent_backward(*args: Any, **named: Any) -> int:
        return 2 * recurrent(*args, **named)

    def trilinear(*args: Any, **_named: Any) -> int:
        shapes = [list(shape) for shape in args[:3]]
        for shape, added in zip(shapes, args[3:6], strict=True):
            for dimension in sorted(added):
                shape.insert(dimension, 1)
        return int(2 * prod(max(lengths) for lengths in zip(*shapes, strict=True)))

    return {
        aten.mkldnn_rnn_layer: recurrent,
        aten.mkldnn_rnn_layer_backward: recurrent_backward,
        aten._trilinear: trilinear,  # noqa: SLF001
    }
