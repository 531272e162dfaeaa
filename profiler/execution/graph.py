"""A captured model as data: its layers in order, what each reads, and what its values look like."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.fx.node import map_aggregate

from profiler.execution.inputs import ONE_TENSOR, Inputs
from profiler.execution.loss import CrossEntropy, Loss, cross_entropy
from profiler.execution.trees import Leaf
from profiler.profile import INPUT, PLAIN_FORM, Edge, Form

Autocast = Literal["", "on", "off"]
"""Whether a layer runs under autocast, in float32 beside layers that do, or as its model says."""


@dataclass(frozen=True, slots=True)
class Ref(Leaf):
    """Stands in an argument list for the output of a layer, or for the model's input."""

    layer: str


@dataclass(frozen=True, slots=True)
class Size:
    """Stands in an argument list for a number that follows the size of the minibatch.

    Attributes:
        layer: The value whose size it is; ``dim``, along which dimension.
        times: What that is multiplied by; ``over``, what it is divided by.
    """

    layer: str
    dim: int
    times: int = 1
    over: int = 1

    def of(self, tensor: torch.Tensor) -> int:
        """Return the number."""
        return tensor.shape[self.dim] * self.times // self.over


@dataclass(frozen=True, slots=True)
class Attribute(Leaf):
    """Stands in an argument list for a parameter or buffer that the model reads directly."""

    path: str


@dataclass(frozen=True, slots=True)
class Functional:
    """A function that torch.nn.functional makes at import, such as max_pool2d: pickle finds it by this name."""

    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return getattr(nn.functional, self.name)(*args, **kwargs)


@dataclass(frozen=True, slots=True)
class Applied:
    """A torch.autograd.Function, whose own backward a record of its forward would lose."""

    function: type[torch.autograd.Function]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the function."""
        return self.function.apply(*args, **kwargs)


def storage_of(value: Any) -> int:
    """Return the address of a tensor's storage, which its views share; 0 of what is no tensor."""
    return value.untyped_storage().data_ptr() if isinstance(value, Tensor) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One layer, ready to run.

    Attributes:
        index: Its place in captured order, which seeds its randomness whatever the split.
        target: The module, the function, or the name of the tensor method to call.
        opaque: Why nobody looks inside of it, where it is a module of others that a run could not be followed in.
    """

    index: int
    name: str
    kind: str
    target: nn.Module | Callable[..., Any] | str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    uses_rng: bool = False
    autocast: Autocast = ""
    opaque: str = ""

    def reads(self) -> list[str]:
        """Return the values it reads, each once, in argument order."""
        names = dict.fromkeys(leaf.layer for leaf in leaves((self.args, self.kwargs)) if isinstance(leaf, (Ref, Size)))
        return list(names)

    def with_leaves(self, changed: Callable[[Any], Any]) -> Self:
        """Return the same layer with each of its arguments, however deep they lie, as ``changed`` returns it."""
        args: Any = map_aggregate(self.args, changed)
        kwargs: Any = map_aggregate(dict(self.kwargs), changed)
        return replace(self, args=args, kwargs=kwargs)

    @property
    def settings(self) -> str:
        """What it is set to, in words that are the same in every process."""
        plain = (bool, int, float, str, torch.dtype, type(None))
        constants = [leaf for leaf in leaves((self.args, self.kwargs)) if isinstance(leaf, plain)]
        own = self.target.extra_repr() if isinstance(self.target, nn.Module) else ""
        return f"{own} {constants}"

    def attributes(self) -> list[str]:
        """Return the paths of the parameters and buffers that it reads directly."""
        return [leaf.path for leaf in leaves((self.args, self.kwargs)) if isinstance(leaf, Attribute)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """Name, shape, stride, type and gradient flag of a tensor between layers.

    Attributes:
        stride: In elements; non-overlapping and dense, so ``bytes`` is what it takes.
    """

    name: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    gradient: bool

    @property
    def bytes(self) -> int:
        """Return its size."""
        elements = 1
        for length in self.shape:
            elements *= length
        return elements * self.dtype.itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """A model's layers in captured order with the facts that every split has to respect.

    Attributes:
        specs: The tensors between layers by the layer that makes them, the model's input among them; a value that is
            no tensor has none and never crosses a cut.
        outputs: The layers whose outputs enter the loss, the main head first.
        roots: For each value, the value that its storage came from; itself unless it is a view or overwrote its input.
        overwrites: For each in-place layer, the value that it overwrites.
        digest: sha256 of the structure, the layers' settings and the parameters' shapes, whatever the minibatch and
            whichever layers are sliced.
        canonical: For each path of a parameter or buffer, its first path: tied ones have several.
        learning: First paths of the parameters that the update changes.
        parameters: First paths of the parameters of each layer; a shared one counts at the first layer that uses it.
        form: Which layers are cut inside, which are ``sliced``, and in which precision all run.
        sample: The minibatch that it was captured on, where it has several inputs, from which synthetic ones are made;
            else None.
    """

    name: str
    model: nn.Module
    operations: tuple[Operation, ...]
    specs: Mapping[str, TensorSpec]
    edges: tuple[Edge, ...]
    inseparable: tuple[tuple[str, ...], ...]
    outputs: tuple[str, ...]
    roots: Mapping[str, str]
    overwrites: Mapping[str, str]
    digest: str
    canonical: Mapping[str, str]
    learning: frozenset[str]
    parameters: Mapping[str, tuple[str, ...]]
    form: Form = PLAIN_FORM
    sliced: frozenset[str] = frozenset()
    loss: Loss = cross_entropy
    inputs: Inputs = ONE_TENSOR
    sample: torch.Tensor | None = None

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Return the layers' names in captured order."""
        return tuple(operation.name for operation in self.operations)

    def run(self, minibatch: torch.Tensor) -> Any:
        """Return what the model itself makes of a minibatch."""
        return self.inputs.call(self.model, minibatch)

    def parameter_bytes(self, layer: str) -> int:
        """Return the size of a layer's parameters."""
        return sum(fetch_attribute(self.model, path).nbytes for path in self.parameters[layer])

    def learning_bytes(self, layer: str) -> int:
        """Return the size of those of a layer's parameters that the update changes."""
        paths = self.learning.intersection(self.parameters[layer])
        return sum(fetch_attribute(self.model, path).nbytes for path in paths)

    @property
    def classes(self) -> int:
        """Return how many classes a head tells apart; of one that is no classifier's, how long its last side is."""
        shape = self.specs[self.outputs[0]].shape
        return shape[-1] if shape else 1

    @property
    def labels(self) -> tuple[int, ...]:
        """Return the shape of a minibatch's labels: a class for each vector of scores, or for each sample."""
        shape = self.specs[self.outputs[0]].shape
        return shape[:-1] if isinstance(self.loss, CrossEntropy) else (self.specs[INPUT].shape[0],)


def leaves(value: Any) -> Iterator[Any]:
    """Yield everything inside nested tuples, lists, mappings and slices."""
    flat: list[Any] = []
    map_aggregate(value, flat.append)
    yield from flat


def fetch_attribute(model: nn.Module, path: str) -> torch.Tensor:
    """Return the parameter or buffer of ``model`` at ``path``."""
    owner, _, local = path.rpartition(".")
    tensor: torch.Tensor = getattr(model.get_submodule(owner), local)
    return tensor


def spec_of(name: str, tensor: torch.Tensor) -> TensorSpec:
    """Describe a tensor; its stride is made dense, in the tensor's own memory format."""
    stride = torch.empty_like(tensor, device="meta").stride()
    return TensorSpec(
        name=name, shape=tuple(tensor.shape), stride=tuple(stride), dtype=tensor.dtype, gradient=tensor.requires_grad
    )


ARITHMETIC = ("add_", "sub_", "mul_", "div_")
"""Methods that overwrite a tensor, such as ``x += y``, of which it is known that they can do without."""


@dataclass(frozen=True, slots=True)
class Apart:
    """Calls a method that writes to a new tensor, of the type of the one that would be overwritten."""

    method: str

    def __call__(self, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Call the method."""
        made: torch.Tensor = getattr(tensor, self.method)(*args, **kwargs)
        return made.to(tensor.dtype)


def out_of_place(operation: Operation) -> Operation | None:
    """Return an in-place layer so that it writes to a new tensor; None where it cannot."""
    target = operation.target
    if operation.kwargs.get("inplace") is True:
        return replace(operation, kwargs={**operation.kwargs, "inplace": False})
    if getattr(target, "inplace", False) is True:
        target = copy.copy(target)
        target.inplace = False  # type: ignore[union-attr]
        return replace(operation, target=target)
    if target in ARITHMETIC and isinstance(operation.args[0], Ref):
        return replace(operation, target=Apart(str(target).removesuffix("_")))
    return None
