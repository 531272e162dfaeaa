"""Leave a model as it was: undo what a forward does to its buffers and to what its modules keep in plain Python."""

import itertools
import random
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from profiler.machine import only_thread

_OWN = frozenset(vars(nn.Module()))
"""Names that every module has, such as ``training``."""
_CONTAINERS = (dict, OrderedDict, defaultdict, Counter, list, tuple, set, frozenset, deque)
_MOST_ITEMS, _MOST_ELEMENTS, _DEEPEST = 1_000, 8, 4


@contextmanager
def own_buffers(model: nn.Module) -> Iterator[None]:
    """Let what happens to the model's buffers happen to copies of them."""
    before = [(module, dict(module._buffers)) for module in model.modules()]  # noqa: SLF001 - rebinding
    copies = {id(buffer): buffer.clone() for buffer in model.buffers()}
    try:
        for module, buffers in before:
            module._buffers |= {name: copies.get(id(buffer), buffer) for name, buffer in buffers.items()}  # noqa: SLF001
        yield
    finally:
        for module, buffers in before:
            module._buffers.clear()  # noqa: SLF001
            module._buffers |= buffers  # noqa: SLF001


def seed_generators(seed: int) -> None:
    """Let the generators of torch, Python and numpy start alike."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % (1 << 32))  # noqa: NPY002 - the generator that such code uses


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Undo what happens to a model's tensors and its modules' plain attributes, and what generators have drawn."""
    with only_thread(), _undone(model), own_buffers(model):
        yield


@contextmanager
def _undone(model: nn.Module) -> Iterator[None]:
    before = [(module, dict(vars(module))) for module in model.modules()]
    values = [value for _, attributes in before for name, value in attributes.items() if name not in _OWN]
    kept = list(_within([*values, *model.parameters()]))
    containers = [(value, value.copy()) for value in kept if isinstance(value, (list, dict, set, deque))]
    tensors = [(value, value.detach().clone()) for value in kept if isinstance(value, Tensor)]
    drawn, chosen, sampled = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(drawn)
        random.setstate(chosen)
        np.random.set_state(sampled)  # noqa: NPY002
        for module, attributes in before:
            vars(module).clear()
            vars(module).update(attributes)
        for container, content in containers:
            container.clear()
            container.extend(content) if isinstance(container, (list, deque)) else container.update(content)
        with torch.no_grad():
            for tensor, values_before in tensors:
                if not _is_equal(tensor, values_before):  # one that was expanded cannot be written to
                    tensor.copy_(values_before)


def _is_equal(tensor: Tensor, other: Tensor) -> bool:
    """Say whether two tensors hold the same; torch compares no sparse ones, and none without values."""
    return tensor.layout == torch.strided and not tensor.is_meta and torch.equal(tensor, other)


def _within(values: Iterable[Any]) -> Iterator[Any]:
    """Yield the containers and tensors among ``values`` and in the containers among them, each once."""
    seen: dict[int, Any] = {}
    pending = list(values)
    while pending:
        value = pending.pop()
        if id(value) in seen or not isinstance(value, (list, tuple, dict, set, deque, Tensor)):
            continue
        seen[id(value)] = value
        yield value
        if not isinstance(value, Tensor):
            pending.extend(value.values() if isinstance(value, dict) else value)


def plain_values(model: nn.Module) -> dict[str, str]:
    """Return the numbers, texts, small tensors and containers of such that modules keep in attributes, as text."""
    return {
        f"the attribute '{path}{'.' if path else ''}{name}'": _text(value)
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if name not in _OWN
    }


def _text(value: Any, depth: int = 0) -> str:
    """Return a plain value as text; of anything else its type."""
    if isinstance(value, (bool, int, float, complex, str, bytes, type(None), np.generic, itertools.count)):
        return repr(value)
    if isinstance(value, (Tensor, np.ndarray)):
        small = value.ndim <= 1 and len(value.reshape(-1)) <= _MOST_ELEMENTS and not getattr(value, "is_meta", False)
        return repr(value.tolist()) if small else type(value).__name__
    value = vars(value) if isinstance(value, SimpleNamespace) else value
    plain = type(value) in _CONTAINERS and depth < _DEEPEST  # a class of its own may load much when it is read
    if not plain or len(value) > _MOST_ITEMS:
        return type(value).__name__
    items = value.items() if isinstance(value, dict) else value
    texts = [_text(item, depth + 1) for item in items]
    return f"[{', '.join(sorted(texts) if isinstance(value, (set, frozenset)) else texts)}]"
