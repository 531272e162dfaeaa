"""Record one forward of a model: which functions and modules it calls, with what, in order.

The model runs as it is, on real tensors, so its own Python decides what is called. Calls of torch functions come by
torch's own override mechanism (``TorchFunctionMode``), calls of modules by way of ``nn.Module.__call__``; modules of
torch.nn are leaves, and so are functions that ``torch.fx.wrap`` names; what happens inside a leaf or a function is not
looked at. Each tensor that a call makes is known by its identity, so what reads what is known, too.

What a record would lose is refused where it happens: a value that Python reads from a tensor (``bool``, ``item``,
``numpy``), a tensor that depends on weights and that no recorded call made, gradients that are switched off.
"""

import operator
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx._symbolic_trace import _wrapped_fns_to_patch  # what ``torch.fx.wrap`` was called for
from torch.fx.node import map_aggregate
from torch.overrides import TorchFunctionMode

from profiler.execution import Applied, Attribute, Functional, Ref, Taken, leaves, storage_of
from profiler.profile import INPUT

VALUE_READING = frozenset({
    "__bool__", "__int__", "__float__", "__complex__", "__index__", "__contains__", "__array__", "item", "tolist",
    "numpy", "equal", "allclose", "is_nonzero",
})  # fmt: skip
"""Functions by whose results Python learns a tensor's values."""
PLAIN = (
    bool, int, float, complex, str, type(None), type(...), torch.dtype, torch.device, torch.layout, torch.memory_format,
    type,
)  # fmt: skip
"""What an argument may be that is no tensor."""
_OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))


class UnfollowableError(Exception):
    """A call that a record would lose, in the forward of the module at ``path``, said with its place in the code."""

    def __init__(self, reason: str, path: str, *, values: bool = False) -> None:
        """Say what it is and where, and whether it is that values were read."""
        super().__init__(f"{reason}{place_in_code()}")
        self.path, self.values = path, values


def place_in_code() -> str:
    """Return file, line and text of the model's own code that runs now; nothing where there is none."""
    frames = [frame for frame in traceback.extract_stack() if not frame.filename.startswith(_OURS)]
    own = [frame for frame in frames if frame.name not in {"<module>", "main"}] or frames
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno}: {own[-1].line})" if own else ""


def set_item(tensor: Tensor, index: Any, value: Any) -> Tensor:
    """Write to some elements of a tensor, and return it: ``tensor[index] = value`` as a call."""
    tensor[index] = value
    return tensor


@dataclass(slots=True)
class Call:
    """One call.

    Attributes:
        name: Distinct, by the module that makes it: ``encoder.layers.3.add``.
        args: With ``Ref`` and ``Attribute`` in the place of tensors; other tensors are constants. Likewise ``kwargs``.
        value: What it made; of a constant, as it was then.
        constant: Whether that depends on constants only.
        effects: Whether it does more than to make a value: it writes to a tensor, or draws random numbers.
        lost: What a record of it would lose, where that is no harm as long as nobody reads what it makes.
        in_float32: Whether its model switches autocast off around it.
        reason: Why nobody looks inside, where it is a module that is no leaf.
    """

    name: str
    kind: str
    target: Any
    args: Any
    kwargs: Any
    value: Any
    constant: bool = False
    effects: bool = False
    reason: str = ""
    in_float32: bool = False
    lost: UnfollowableError | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor that it made; empty where it made something else."""
        return tuple(self.value.shape) if isinstance(self.value, Tensor) else ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The call that raised: its layer, and whether that read the model's input."""

    name: str
    kind: str
    target: Any
    first: bool


@dataclass
class Recorder(TorchFunctionMode):
    """Records the calls of one forward, while it is entered.

    Attributes:
        opaque: Paths of modules that are leaves, each with the reason.
    """

    model: nn.Module
    opaque: dict[str, str]
    calls: list[Call] = field(default_factory=list)
    failed: Failed | None = None

    def __post_init__(self) -> None:
        """Know the model's modules and tensors by identity."""
        super().__init__()
        self._paths = {id(module): path for path, module in self.model.named_modules()}
        state = [
            *self.model.named_parameters(remove_duplicate=False),
            *self.model.named_buffers(remove_duplicate=False),
        ]
        self._state: dict[int, str] = {}
        for path, tensor in state:
            self._state.setdefault(id(tensor), path)
        self._made: dict[int, tuple[str, tuple[Any, ...]]] = {}
        self._depending = {storage_of(tensor) for _, tensor in state}
        self._alive: list[Any] = [tensor for _, tensor in state]  # so that no identity is used twice
        self._taken: set[str] = {INPUT}
        self._around: list[str] = []
        self._quiet = 0
        self._autocasts, self._hooks = _contexts_of_autocast(), _hooks_of_saved()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what runs within."""
        module_call, apply = nn.Module.__call__, vars(torch.autograd.Function)["apply"]
        wrapped = [(names, name) for (_, name), names in _wrapped_fns_to_patch.items() if name in names]
        whole = [(names, name, names[name]) for names, name in wrapped]  # without builtins, which make no tensors

        def called(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return self._module(module_call, module, args, kwargs)

        def applied(function: type[torch.autograd.Function], *args: Any, **kwargs: Any) -> Any:
            own = apply.__get__(None, function)
            if self._quiet:
                return own(*args, **kwargs)
            return self._carried_out(function.__name__, Applied(function), own, args, kwargs)

        def kept_whole(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                if self._quiet:
                    return function(*args, **kwargs)
                return self._carried_out(name, function, function, args, kwargs)

            return call

        nn.Module.__call__ = called  # type: ignore[method-assign]
        torch.autograd.Function.apply = classmethod(applied)
        for names, name, function in whole:
            names[name] = kept_whole(name, function)
        try:
            with self:
                yield
        finally:
            for names, name, function in whole:
                names[name] = function
            nn.Module.__call__ = module_call  # type: ignore[method-assign]
            torch.autograd.Function.apply = apply

    def received(self, value: Tensor) -> None:
        """Know the model's input."""
        self._alive.append(value)
        self._depending.add(storage_of(value))
        self._made[id(value)] = INPUT, ()

    def taken(self, own: Taken, received: Tensor) -> Tensor:
        """Take one of several inputs out of the model's input, and record that."""
        value = own(received)
        self._depending.add(storage_of(value))
        self._add(Call(self._name(own.name), "Input", own, (Ref(INPUT),), {}, value))
        return value

    def settle(self) -> None:
        """Note which constants were written to after all; at the end."""
        for call in self.calls:
            call.constant = call.constant and storage_of(call.value) not in self._depending

    def result(self, leaf: Any) -> Any:
        """Return a leaf of what the model returns as it stands in a record."""
        if isinstance(leaf, Tensor):
            return self.reference(leaf) or leaf
        if leaf is None or isinstance(leaf, PLAIN):
            return leaf
        raise UnfollowableError(
            f"it returns a {type(leaf).__name__}, which no stage hands on; switch that off, as with "
            "model.config.use_cache = False", ""
        )  # fmt: skip

    def reference(self, tensor: Tensor) -> Ref | Attribute | None:
        """Return what stands for a tensor in arguments; None for a constant."""
        if id(tensor) in self._made:
            name, path = self._made[id(tensor)]
            for place, key in enumerate(path):  # out of a tuple that a call made, when it is first asked for
                whole = next(call.value for call in reversed(self.calls) if call.name == name)
                part = whole[key]
                self._add(
                    Call(self._name(f"{name}.getitem"), "getitem", operator.getitem, (Ref(name), key), {}, part),
                    path=path[place + 1 :],
                )  # fmt: skip
                name = self.calls[-1].name
            return Ref(name)
        if id(tensor) in self._state:
            return Attribute(self._state[id(tensor)])
        if tensor.grad_fn is not None or tensor.requires_grad:
            raise self._unfollowable("a tensor that no call of torch made, or that was made inside of a call")
        return None

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Record a call of a torch function or method, and carry it out."""
        if self._quiet:
            return func(*args, **(kwargs or {}))
        name, target = _target(func)
        return self._carried_out(name, target, func, args, kwargs or {})

    @property
    def _module_path(self) -> str:
        return self._around[-1] if self._around else ""

    def _unfollowable(self, reason: str) -> UnfollowableError:
        return UnfollowableError(reason, self._module_path)

    def _module(self, module_call: Callable[..., Any], module: nn.Module, args: Any, kwargs: Any) -> Any:
        path = self._paths.get(id(module))
        if self._quiet or path is None:
            if not self._quiet and any(True for _ in module.parameters()):
                raise self._unfollowable(f"a {type(module).__name__} that the model does not hold as a submodule")
            return module_call(module, *args, **kwargs)
        reason = self.opaque.get(path, "")
        if reason or is_leaf(module):
            return self._carried_out(
                path, module, lambda *own, **named: module_call(module, *own, **named), args, kwargs, reason=reason
            )
        self._around.append(path)
        try:
            return module_call(module, *args, **kwargs)
        finally:
            self._around.pop()

    def _carried_out(
        self, name: str, target: Any, function: Callable[..., Any], args: Any, kwargs: Any, *, reason: str = ""
    ) -> Any:
        """Carry a call out without looking inside, and record it unless it makes no tensor."""
        self._quiet += 1  # for what is asked of tensors here, too
        try:
            return self._recorded(name, target, function, args, kwargs, reason=reason)
        finally:
            self._quiet -= 1

    def _recorded(
        self, name: str, target: Any, function: Callable[..., Any], args: Any, kwargs: Any, *, reason: str
    ) -> Any:
        read = [leaf for leaf in leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        is_module = isinstance(target, nn.Module)
        depends = any(map(self._depends, read)) or (is_module and any(True for _ in target.parameters()))
        if name in VALUE_READING and depends and not is_module:
            raise UnfollowableError(
                f"its forward reads the values of a tensor with {name.strip('_')}()", self._module_path, values=True
            )
        versions = [tensor._version for tensor in read]  # noqa: SLF001 - the only way to see a write
        given = map_aggregate((args, kwargs), self._given)
        drawn = torch.get_rng_state()
        kind = type(target).__name__ if is_module else name.strip("_")
        full = name if is_module else f"{self._module_path}.{kind}".lstrip(".")
        try:
            value = function(*args, **kwargs)
        except Exception:
            self.failed = Failed(full, kind, target, any(self._made.get(id(one), ("",))[0] == INPUT for one in read))
            raise
        written = [
            tensor
            for tensor, version in zip(read, versions, strict=True)
            if tensor._version != version  # noqa: SLF001
        ]
        if target is set_item:
            value = args[0]
        made = [leaf for leaf in leaves(value) if isinstance(leaf, Tensor)]
        if not made:
            return value
        lost = self._lost_in_contexts([*read, *(target.parameters() if is_module else ())])
        for tensor in made:
            if tensor.device.type != "cpu":
                raise self._unfollowable(f"it makes a tensor on {tensor.device}; stages run on the CPU")
        given_args, given_kwargs = given
        effects = bool(written) or not torch.equal(drawn, torch.get_rng_state())
        places = {storage_of(tensor) for tensor in (*written, *made)}
        if depends or effects:
            self._depending |= places  # what is written to a constant is none any more, whatever it is called
        constant = not depends and not effects and isinstance(value, Tensor)
        self._add(
            Call(
                self._name(full), kind, target, given_args, given_kwargs, value, constant, effects, reason,
                in_float32=_contexts_of_autocast() > self._autocasts, lost=lost,
            )
        )  # fmt: skip
        return value

    def _add(self, call: Call, path: tuple[Any, ...] = ()) -> None:
        """Keep a call; what it made is known by it from now on."""
        self.calls.append(call)
        self._alive.append(call.value)
        if isinstance(call.value, Tensor):
            self._made[id(call.value)] = call.name, path
            return
        for keys, leaf in _tensors_in(call.value):
            self._made[id(leaf)] = call.name, keys

    def _depends(self, tensor: Tensor) -> bool:
        """Say whether a tensor depends on the model's input, parameters or buffers."""
        return storage_of(tensor) in self._depending or id(tensor) in self._state or tensor.requires_grad

    def _given(self, leaf: Any) -> Any:
        """Return an argument as it stands in a record."""
        if isinstance(leaf, Tensor):
            reference = self.reference(leaf)
            return leaf.detach().clone() if reference is None else reference
        if isinstance(leaf, np.generic):
            return leaf.item()
        if isinstance(leaf, torch.Generator):
            raise self._unfollowable("a generator of its own, which stages do not seed")
        if isinstance(leaf, PLAIN) or (callable(leaf) and not isinstance(leaf, nn.Module)):
            return leaf
        raise self._unfollowable(f"a call is given a {type(leaf).__name__}, which a record does not keep")

    def _lost_in_contexts(self, read: Sequence[Tensor]) -> UnfollowableError | None:
        """Return why no record holds a call, for a context that changes what it computes; None where there is none."""
        if not torch.is_grad_enabled() and any(tensor.requires_grad for tensor in read):
            return self._unfollowable(
                "it uses torch.no_grad around what parameters learn from; freeze them with requires_grad_(False)"
            )
        if _contexts_of_autocast() > self._autocasts and torch.is_autocast_enabled("cpu"):
            return self._unfollowable("it uses torch.autocast in its forward; leave that to --precision")
        if _hooks_of_saved() != self._hooks:
            return self._unfollowable("it changes what its backward keeps, as checkpointing does; leave that out")
        return None

    def _name(self, wanted: str) -> str:
        name, repeat = wanted, 1
        while name in self._taken:
            name, repeat = f"{wanted}_{repeat}", repeat + 1
        self._taken.add(name)
        return name


def _hooks_of_saved() -> Any:
    """Return what is done to tensors that are saved for a backward; None where nothing is."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True)  # noqa: FBT003, SLF001 - it has no other name


def is_leaf(module: nn.Module) -> bool:
    """Say whether a module is a layer by itself: one of torch.nn's, as torch.fx has it."""
    home = type(module).__module__
    return home.startswith(("torch.nn", "torch.ao.nn")) and not isinstance(module, nn.Sequential)


def _contexts_of_autocast() -> int:
    """Return how many contexts of autocast there are around, those that switch it off among them."""
    torch.autocast_increment_nesting()
    return int(torch.autocast_decrement_nesting())


def _target(func: Any) -> tuple[str, Any]:
    """Return the name of a function or method of torch, and how a layer calls it."""
    name = str(getattr(func, "__name__", type(func).__name__))
    if name == "__get__":
        own = getattr(func.__self__, "__name__", "")
        return own, attrgetter(own)
    if name == "__getitem__":
        return name, operator.getitem
    if name == "__setitem__":
        return name, set_item
    if getattr(torch.Tensor, name, None) is func or str(getattr(func, "__qualname__", "")).startswith("TensorBase."):
        return name, name
    if getattr(nn.functional, name, None) is func or "<locals>" in str(getattr(func, "__qualname__", "")):
        return name, Functional(name)
    return name, func


def _tensors_in(value: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Tensor]]:
    """Yield the tensors inside tuples, lists and mappings, each with the keys that lead to it."""
    if isinstance(value, Tensor):
        yield keys, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _tensors_in(item, (*keys, key))
    elif isinstance(value, (tuple, list)):
        for key, item in enumerate(value):
            yield from _tensors_in(item, (*keys, key))
