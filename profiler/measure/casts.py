"""Find out what is cast to a type."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


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
        if func.overloadpacket is torch.ops.aten._to_copy and result.dtype == self._to:  # noqa: SLF001
            self._addresses.append(args[0].data_ptr())
        return result
