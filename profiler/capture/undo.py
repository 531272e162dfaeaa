"""Leave a model as it was: undo what a forward does to its buffers and to what its modules keep in plain Python."""

import inspect
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_OWN = frozenset(vars(nn.Module()))
"""Names that every module has, such as ``training``."""
_MOST_ITEMS = 1_000


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
    """Undo what happens to a model's buffers and its modules' plain attributes, and what generators have drawn."""
    before = [(module, dict(vars(module))) for module in model.modules()]
    values = [value for _, attributes in before for name, value in attributes.items() if name not in _OWN]
    copies = [(value, value.copy()) for value in values if isinstance(value, (list, dict, set))]
    tensors = [(value, value.detach().clone()) for value in values if isinstance(value, Tensor)]
    drawn, chosen, sampled = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with own_buffers(model):
            yield
    finally:
        torch.set_rng_state(drawn)
        random.setstate(chosen)
        np.random.set_state(sampled)  # noqa: NPY002
        for module, attributes in before:
            vars(module).clear()
            vars(module).update(attributes)
        for container, content in copies:
            container.clear()
            container.extend(content) if isinstance(container, list) else container.update(content)
        with torch.no_grad():
            for tensor, values_before in tensors:
                tensor.copy_(values_before)


def plain_values(model: nn.Module) -> dict[str, str]:
    """Return the numbers, texts and containers of such that the model's code keeps between two forwards, as text.

    They are kept in attributes of its modules, of their classes, in global names of the files that define these, and in
    defaults of ``forward``; their names say where.
    """
    values: dict[str, str] = {}
    for path, module in model.named_modules():
        own = {name: value for name, value in vars(module).items() if name not in _OWN}
        values |= _texts(own, f"the attribute '{path}{'.' if path else ''}", "'")
    kinds = {kind for module in model.modules() for kind in type(module).__mro__ if not _of_torch(kind.__module__)}
    for kind in kinds - {object}:
        values |= _texts(vars(kind), f"the attribute '{kind.__name__}.", "'")
        values |= _texts(vars(sys.modules.get(kind.__module__)), f"the global name '{kind.__module__}.", "'")
        if callable(forward := vars(kind).get("forward")):
            named = {name: own.default for name, own in inspect.signature(forward).parameters.items()}
            values |= _texts(named, f"the default of '{kind.__name__}.forward(", "=…)'")
    return values


def _of_torch(module: str) -> bool:
    return module.partition(".")[0] in {"torch", "builtins"}


def _texts(names: Mapping[str, Any], before: str, behind: str) -> dict[str, str]:
    return {f"{before}{name}{behind}": _text(value) for name, value in names.items() if not name.startswith("__")}


def _text(value: Any) -> str:
    """Return a plain value as text; of anything else its type, for what that holds is its own."""
    if isinstance(value, (bool, int, float, complex, str, bytes, type(None))):
        return repr(value)
    if isinstance(value, dict) and len(value) <= _MOST_ITEMS:
        return f"{{{', '.join(f'{_text(key)}: {_text(item)}' for key, item in value.items())}}}"
    if isinstance(value, (list, tuple, set, frozenset)) and len(value) <= _MOST_ITEMS:
        return f"[{', '.join(map(_text, value))}]"
    return f"a {type(value).__name__}"
