"""How a model is called with a minibatch: with one tensor, or with several in a tree, which travel as one.

Stages hand one tensor of inputs on. Where a model takes several, a minibatch's are packed: row n of a tensor ``(N,
bytes)`` has the bytes of sample n of each input, one after the other. The captured graph begins with layers that take
them out again, bit for bit.
"""

import inspect
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from profiler.errors import ModelError
from profiler.execution.trees import Leaf, map_named, map_tree, tree_leaves

ALIGNED = 16
"""Each input begins at a multiple of so many bytes."""


@dataclass(frozen=True, slots=True)
class Taken(Leaf):
    """Takes one of several inputs out of packed ones: a layer of the captured graph, and a leaf in the tree of inputs.

    Attributes:
        name: Where it stands in the tree: ``attention_mask``.
        offset: Of its bytes in each row.
    """

    name: str
    offset: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        """The size of a sample of it."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __call__(self, packed: Tensor) -> Tensor:
        """Return it, ``(N, *shape)``."""
        rows = packed[:, self.offset : self.offset + self.bytes].contiguous()
        return rows.view(-1).view(self.dtype).view(len(packed), *self.shape)


@dataclass(frozen=True, slots=True)
class Inputs:
    """How a model is called with a minibatch.

    Attributes:
        told: Whether the model is told that it is traced (``torch.jit.is_tracing``): then libraries leave out shortcuts
            that depend on values, such as that a mask hides nothing.
        args: Positional arguments with a ``Taken`` in the place of each tensor; likewise ``kwargs`` by name. Nothing
            in both where the model is called with the one tensor that a minibatch is.
    """

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] | None = None
    told: bool = False

    @property
    def taken(self) -> tuple[Taken, ...]:
        """What is taken out of packed inputs, in order; nothing where there is one tensor."""
        leaves = (leaf for _, leaf in tree_leaves([self.args, self.kwargs or {}]))
        return tuple(leaf for leaf in leaves if isinstance(leaf, Taken))

    @property
    def packed(self) -> bool:
        """Whether there are several inputs."""
        return bool(self.args) or self.kwargs is not None

    def arguments(self, minibatch: Tensor, tensors: Mapping[str, Tensor] | None = None) -> tuple[Any, dict[str, Any]]:
        """Return the arguments that a minibatch is, positional and by name.

        Args:
            minibatch: As it travels.
            tensors: What is taken out of it, by name, where that has been done.
        """
        if not self.packed:
            return (minibatch,), {}

        def fetch(leaf: Any) -> Any:
            if not isinstance(leaf, Taken):
                return leaf
            return leaf(minibatch) if tensors is None else tensors[leaf.name]

        return map_tree(fetch, self.args), map_tree(fetch, dict(self.kwargs or {}))

    def call(self, model: nn.Module, minibatch: Tensor) -> Any:
        """Return what a model makes of a minibatch."""
        args, kwargs = self.arguments(minibatch)
        with self.telling():
            return model(*args, **kwargs)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Tell models that they are traced, if this one is to be told."""
        before = torch.jit.is_tracing
        if self.told:
            torch.jit.is_tracing = lambda: True
        try:
            yield
        finally:
            torch.jit.is_tracing = before

    def pack(self, batch: Any) -> Tensor:
        """Return a minibatch as it travels.

        Args:
            batch: What the model is called with, in the shape of the sample.
        """
        if not self.packed:
            assert isinstance(batch, Tensor)
            return batch
        wanted = {leaf.name: leaf for leaf in self.taken}
        given = {name: leaf for name, leaf in tree_leaves(_as_arguments(batch)) if isinstance(leaf, Tensor)}
        given = {name.partition(".")[2]: leaf for name, leaf in given.items()}
        if given.keys() != wanted.keys():
            odd = min(given.keys() ^ wanted.keys())
            raise ModelError(
                f"a minibatch has {', '.join(given) or 'no tensor'}, and the model was profiled with "
                f"{', '.join(wanted)}; let each have the same ('{odd}' is in one of them only)"
            )
        return _rows([(wanted[name], tensor) for name, tensor in given.items()])

    def mirrored(self, minibatch: Tensor) -> Tensor:
        """Return a minibatch of other values, within the range of each input's own."""
        if not self.packed:
            return _mirrored(minibatch)
        return _rows([(own, _mirrored(own(minibatch))) for own in self.taken])

    def words(self, minibatch: Tensor) -> str:
        """Return in words what a minibatch is."""
        if not self.packed:
            return f"input of shape {tuple(minibatch.shape)}"
        return "inputs " + ", ".join(f"{own.name} {(len(minibatch), *own.shape)}" for own in self.taken)


ONE_TENSOR = Inputs()
"""The inputs of a model that is called with one tensor."""


def inputs_like(model: nn.Module, sample: Any) -> Inputs:
    """Return how a model is called with minibatches like a sample.

    Args:
        model: What is called.
        sample: What it is called with: one tensor; a mapping or a dataclass, by name; or a tuple or list, in order.
    """
    if isinstance(sample, Tensor):
        return ONE_TENSOR
    args, kwargs = _as_arguments(sample)
    names = list(inspect.signature(model.forward).parameters)
    tensors = [(name, leaf) for name, leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    samples = {len(tensor) if tensor.dim() else 0 for _, tensor in tensors}
    if len(samples) > 1 or 0 in samples:
        shapes = ", ".join(f"{name.partition('.')[2]} {tuple(tensor.shape)}" for name, tensor in tensors)
        raise ModelError(
            f"the inputs of the sample have shapes {shapes}; each has a sample in each row, (N, …), as many as the "
            "others"
        )
    offset = 0

    def taken(name: str, leaf: Any) -> Any:
        nonlocal offset
        if not isinstance(leaf, Tensor):
            return leaf
        own = Taken(name.partition(".")[2], offset, tuple(leaf.shape[1:]), leaf.dtype)
        offset += -(-own.bytes // ALIGNED) * ALIGNED
        return own

    odd = sorted(kwargs.keys() - set(names))
    various = any(own.kind is own.VAR_KEYWORD for own in inspect.signature(model.forward).parameters.values())
    if odd and not various:
        raise ModelError(
            f"the sample has '{odd[0]}', which the model's forward does not take; it takes {', '.join(names)}"
        )
    made_args, made_kwargs = map_named(taken, (args, kwargs))
    return Inputs(made_args, made_kwargs)


def called_with(model: nn.Module, given: Any) -> Any:
    """Return what a model makes of inputs as its user gives them: one tensor, some by name, or several in order."""
    args, kwargs = ((given,), {}) if isinstance(given, Tensor) else _as_arguments(given)
    return model(*args, **kwargs)


def samples_in(given: Any) -> int:
    """Return how many samples there are in a minibatch's inputs; 0 where they hold no tensor."""
    return next((len(leaf) for _, leaf in tree_leaves(given) if isinstance(leaf, Tensor) and leaf.dim()), 0)


def _as_arguments(sample: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(sample, Mapping):
        return (), dict(sample)
    if isinstance(sample, (tuple, list)) and not hasattr(sample, "_fields"):
        return tuple(sample), {}
    return (sample,), {}


def _rows(parts: list[tuple[Taken, Tensor]]) -> Tensor:
    """Return packed inputs."""
    count = len(parts[0][1]) if parts[0][1].dim() else 0
    end = max(own.offset + -(-own.bytes // ALIGNED) * ALIGNED for own, _ in parts)
    packed = torch.zeros(count, end, dtype=torch.uint8)
    for own, tensor in parts:
        if tuple(tensor.shape) != (count, *own.shape) or tensor.dtype != own.dtype:
            raise ModelError(
                f"'{own.name}' has shape {tuple(tensor.shape)} and type {tensor.dtype}, and ({count}, "
                f"{', '.join(map(str, own.shape))}) of {own.dtype} is wanted; pad each minibatch to one length"
            )
        rows = tensor.detach().contiguous().reshape(count, -1)
        packed[:, own.offset : own.offset + own.bytes] = rows.view(torch.uint8).reshape(count, -1)
    return packed


def _mirrored(tensor: Tensor) -> Tensor:
    if tensor.is_floating_point():
        return -0.5 * tensor
    if tensor.dtype == torch.bool:
        return tensor.flip(0)
    return tensor.max() + tensor.min() - tensor
