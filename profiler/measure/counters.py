"""Count floating-point operations as torch.utils.flop_counter does: of products, a multiply-add as two."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten


class Work:
    """Counts while ``counting`` lasts; ``flops()`` reads the counter."""

    def __init__(self) -> None:
        """Start from zero."""
        self._products = FlopCounterMode(display=False, custom_mapping=_attention_on_cpu())

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Add up the floating-point operations of every operator that runs meanwhile."""
        with self._products:
            yield

    def flops(self) -> int:
        """Return the floating-point operations so far."""
        return int(self._products.get_total_flops())


@contextmanager
def casts(to: torch.dtype) -> Iterator[list[int]]:
    """Yield the addresses of what is cast to a type meanwhile."""
    addresses: list[int] = []
    with _Casts(to, addresses):
        yield addresses


class _Casts(TorchDispatchMode):
    """Keeps the addresses of what is cast."""

    def __init__(self, to: torch.dtype, addresses: list[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._to, self._addresses = to, addresses

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket is aten._to_copy and result.dtype == self._to:  # noqa: SLF001
            self._addresses.append(args[0].data_ptr())
        return result


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
