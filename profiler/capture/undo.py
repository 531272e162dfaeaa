"""Leave a model as it was: undo what a forward does to its buffers and to what its modules keep in plain Python."""

import inspect
import itertools
import random
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from profiler.machine import only_thread

_OWN = frozenset(vars(nn.Module()))
"""Names that every module has, such as ``training``."""
_PLAIN_DICTS = (dict, OrderedDict, defaultdict, Counter)
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
    """Return the numbers, texts and containers of such that the model's code keeps between two forwards, as text.

    They are kept in attributes of its modules and their classes, in global names of the files that define these, and in
    defaults and closures of ``forward``; their names say where. Objects of the user's own classes count with what they
    hold, small tensors with their elements.
    """
    values: dict[str, str] = {}
    classes = (kind for module in model.modules() for kind in type(module).__mro__)
    kinds = list(dict.fromkeys(kind for kind in classes if not _of_torch(kind.__module__)))
    text = _Text({kind.__module__.partition(".")[0] for kind in kinds} - {"torchvision", "timm", "transformers"})
    for path, module in model.named_modules():
        own = {name: value for name, value in vars(module).items() if name not in _OWN}
        values |= text.of_names(own, f"the attribute '{path}{'.' if path else ''}", "'")
    for kind in kinds:
        values |= text.of_names(vars(kind), f"the attribute '{kind.__name__}.", "'")
        if isinstance(forward := vars(kind).get("forward"), FunctionType):
            named = {name: own.default for name, own in inspect.signature(forward).parameters.items()}
            values |= text.of_names(named, f"the default of '{kind.__name__}.forward(", "=…)'")
            values |= text.of_names(_around(forward), "the name '", f"' around '{kind.__name__}.forward'")
    for name in dict.fromkeys(kind.__module__ for kind in kinds):
        values |= text.of_names(
            vars(sys.modules[name]) if name in sys.modules else {}, f"the global name '{name}.", "'"
        )
    return values


def _around(function: FunctionType) -> dict[str, Any]:
    """Return what a function reads of the functions that it is defined in."""
    values = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # of a name that has no value yet
            values[name] = cell.cell_contents
    return values


def _of_torch(module: str) -> bool:
    return module.partition(".")[0] in {"torch", "builtins"}


class _Text:
    """Puts plain values into text; of anything else its type, unless its class is one of the user's own."""

    def __init__(self, packages: Collection[str]) -> None:
        """Look into objects of classes in ``packages``."""
        self._packages = packages

    def of_names(self, names: Mapping[str, Any], before: str, behind: str) -> dict[str, str]:
        return {f"{before}{name}{behind}": self.of(value) for name, value in names.items() if not name.startswith("__")}

    def of(self, value: Any, depth: int = 0) -> str:  # noqa: PLR0911 - one for each kind of value
        if isinstance(value, (bool, int, float, complex, str, bytes, type(None), np.generic, itertools.count)):
            return repr(value)
        if isinstance(value, (Tensor, np.ndarray)):
            small = value.ndim <= 1 and len(value.reshape(-1)) <= _MOST_ELEMENTS
            return repr(value.tolist()) if small and not getattr(value, "is_meta", False) else self._kind(value)
        if depth == _DEEPEST:
            return self._kind(value)
        if (
            type(value) in _PLAIN_DICTS and len(value) <= _MOST_ITEMS
        ):  # a class of its own may load much when it is read
            items = (f"{self.of(key, depth + 1)}: {self.of(item, depth + 1)}" for key, item in value.items())
            return f"{{{', '.join(items)}}}"
        if isinstance(value, (list, tuple, set, frozenset, deque)) and len(value) <= _MOST_ITEMS:
            texts = [self.of(item, depth + 1) for item in value]
            return f"[{', '.join(sorted(texts) if isinstance(value, (set, frozenset)) else texts)}]"
        if self._is_the_users(value):
            held = vars(value) | (_around(value) if isinstance(value, FunctionType) else {})
            named = {name: item for name, item in held.items() if not name.startswith("__")}
            return f"{self._kind(value)} {self.of(named, depth + 1)}" if named else self._kind(value)
        return self._kind(value)

    def _is_the_users(self, value: Any) -> bool:
        if isinstance(value, SimpleNamespace):
            return True
        home = value if isinstance(value, (type, FunctionType)) else type(value)
        own = str(getattr(home, "__module__", "")).partition(".")[0] in self._packages
        return own and hasattr(value, "__dict__") and not isinstance(value, nn.Module)

    @staticmethod
    def _kind(value: Any) -> str:
        return f"a {type(value).__name__}"
