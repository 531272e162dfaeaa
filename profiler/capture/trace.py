"""Trace a model with torch.fx into operations: what is called, in which order, and what reads what."""

import inspect
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

from profiler.capture.following.recorder import PLAIN
from profiler.errors import CaptureError, one_line
from profiler.execution import Applied, Attribute, Functional, Operation, Ref, leaves, map_tree
from profiler.profile import INPUT


def trace(model: nn.Module, name: str) -> tuple[tuple[Operation, ...], Any]:
    """Return the model's operations in captured order, and what it returns with a ``Ref`` for each tensor."""
    try:
        with _functions_as_layers():
            tracer = _Tracer()
            graph = tracer.trace(model)
    except CaptureError as error:
        raise CaptureError(f"model '{name}' cannot be captured: {error}") from error
    except Exception as error:
        raise CaptureError(
            f"model '{name}' cannot be captured: {one_line(error)}{_place_of(error)}; torch.fx needs a forward without "
            "an if or a loop that depends on the input or its shape: compute what they decide in __init__"
        ) from error
    state = {path for path, _ in model.named_parameters(remove_duplicate=False)}
    state |= {path for path, _ in model.named_buffers(remove_duplicate=False)}
    names: dict[fx.Node, Any] = {}
    operations: list[Operation] = []
    taken: set[str] = {INPUT}
    output: Any = None
    for node in graph.nodes:
        if node.op == "placeholder":
            names[node] = Ref(INPUT)
        elif node.op == "get_attr":
            names[node] = _attribute(model, str(node.target), state)
        elif node.op == "output":
            output = map_tree(lambda leaf: _result(leaf, names), tracer.returned)
        else:
            operation = _operation(model, node, len(operations), names, taken)
            names[node] = Ref(operation.name)
            operations.append(operation)
    return tuple(operations), output


def _result(leaf: Any, names: dict[fx.Node, Any]) -> Any:
    """Return a leaf of what the model returns as it stands in the tree of results."""
    if isinstance(leaf, fx.Proxy):
        return names[leaf.node]
    if isinstance(leaf, Tensor):
        return leaf.detach().clone()  # as every process has its own
    if leaf is None or isinstance(leaf, PLAIN):
        return leaf
    raise CaptureError(f"it returns a {type(leaf).__name__}")


def _place_of(error: BaseException) -> str:
    """Return file, line and text of the model's own code that raised; nothing where there is none."""
    ours = (str(Path(torch.__file__).parent), str(Path(__file__).parent))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(ours)]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno}: {frames[-1].line})" if frames else ""


class AsCalled(fx.Tracer):
    """Traces a model as its users call it, with its input alone: so Python binds every default, and its hooks run."""

    def create_args_for_root(self, *_signature: Any, **_named: Any) -> tuple[Callable[..., Any], list[Any]]:
        """Return what is traced, and its arguments."""
        return self.root._call_impl, [self.create_proxy("placeholder", _input_name(self.root), (), {})]  # noqa: SLF001


class _Tracer(AsCalled):
    """Records what is done to buffers instead of doing it while tracing, and refuses what a trace would lose.

    Attributes:
        returned: What the model returned, with a proxy in the place of each tensor; a graph has no classes of trees.
    """

    proxy_buffer_attributes = True

    def __init__(self) -> None:
        """Note in how many contexts of autocast the caller is."""
        super().__init__()
        self.contexts, self.returned = _contexts_of_autocast(), None

    def create_args_for_root(self, *signature: Any, **named: Any) -> tuple[Callable[..., Any], list[Any]]:
        """Return what is traced, and its arguments."""
        call, arguments = super().create_args_for_root(*signature, **named)

        def kept(*given: Any) -> None:
            self.returned = call(*given)

        return kept, arguments

    def create_node(self, kind: str, target: Any, *args: Any, **kwargs: Any) -> fx.Node:
        """Make a node, unless it stands in a context that no node can hold."""
        if not torch.is_grad_enabled():
            raise CaptureError("it uses torch.no_grad in its forward; freeze parameters with requires_grad_(False)")
        if _contexts_of_autocast() > self.contexts:
            raise CaptureError("it uses torch.autocast in its forward; leave that to --precision")
        return super().create_node(kind, target, *args, **kwargs)


def _contexts_of_autocast() -> int:
    """Return how many contexts of autocast there are around, those that switch it off among them."""
    torch.autocast_increment_nesting()
    return int(torch.autocast_decrement_nesting())


@contextmanager
def _functions_as_layers() -> Iterator[None]:
    """Let a torch.autograd.Function that is applied to a proxy become one node."""
    own = vars(torch.autograd.Function)["apply"]

    def apply(function: type[torch.autograd.Function], *args: Any, **kwargs: Any) -> Any:
        traced = [leaf for leaf in leaves((args, kwargs)) if isinstance(leaf, fx.Proxy)]
        if not traced:
            return own.__get__(None, function)(*args, **kwargs)
        return traced[0].tracer.create_proxy("call_function", Applied(function), args, kwargs, name=function.__name__)

    torch.autograd.Function.apply = classmethod(apply)
    try:
        yield
    finally:
        torch.autograd.Function.apply = own


def _attribute(model: nn.Module, path: str, state: Collection[str]) -> Any:
    """Return how a layer refers to something that the model holds: by path if it is state, else the thing itself."""
    if path in state:
        return Attribute(path)
    thing: Any = model
    for part in path.split("."):
        thing = getattr(thing, part)
    return thing.detach().clone() if isinstance(thing, Tensor) else thing  # as every process has its own


def _input_name(model: nn.Module) -> str:
    """Return what a model calls the one input that it takes."""
    parameters = list(inspect.signature(model.forward).parameters.values())
    passed = [own for own in parameters if own.kind not in {own.KEYWORD_ONLY, own.VAR_KEYWORD}]
    if not passed:
        raise CaptureError("its forward takes no input; let it take a minibatch (N, …)")
    optional = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    for own in parameters:
        if own is not passed[0] and own.default is own.empty and own.kind not in optional:
            raise CaptureError(
                f"its forward takes a second input '{own.name}' without a default; wrap it in a module with one input"
            )
    return passed[0].name


def layer_name(node: fx.Node, taken: Collection[str]) -> str:
    """Return a layer's name: its module's path, numbered where that is called again; or its own as a graph node."""
    if node.op != "call_module":
        return node.name if node.name not in taken else f"{node.name}_fn"
    name = path = str(node.target)
    repeat = 1
    while name in taken:
        name, repeat = f"{path}_{repeat}", repeat + 1
    return name


def _operation(model: nn.Module, node: fx.Node, index: int, names: dict[fx.Node, Any], taken: set[str]) -> Operation:
    target: Any = node.target
    if node.op == "call_module":
        target = model.get_submodule(str(node.target))
        kind = type(target).__name__
    else:
        named = target.function if isinstance(target, Applied) else target
        kind = str(target) if node.op == "call_method" else getattr(named, "__name__", str(target))
        if "<locals>" in getattr(target, "__qualname__", "") and getattr(nn.functional, kind, None) is target:
            target = Functional(kind)
    name = layer_name(node, taken)
    taken.add(name)
    args: Any = map_aggregate(node.args, lambda leaf: names.get(leaf, leaf))  # type: ignore[arg-type]
    kwargs: Any = map_aggregate(node.kwargs, lambda leaf: names.get(leaf, leaf))  # type: ignore[arg-type]
    around = "" if node.op == "call_module" else next(reversed(node.meta.get("nn_module_stack", {"": ""})), "")
    module = around.partition("@")[0]  # which counts repeated calls
    return Operation(index=index, name=name, kind=kind, target=target, args=args, kwargs=kwargs, module=module)


def settings_text(operation: Operation) -> str:
    """Return what a layer is set to, in words that are the same in every process."""
    plain = (bool, int, float, str, torch.dtype, type(None))
    constants = [leaf for leaf in leaves((operation.args, operation.kwargs)) if isinstance(leaf, plain)]
    own = operation.target.extra_repr() if isinstance(operation.target, nn.Module) else ""
    return f"{own} {constants}"
