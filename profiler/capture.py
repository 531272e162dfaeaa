"""Capture a model as a graph of layers: trace it with torch.fx, run it once, note what every split must respect.

The trace says what reads what. One real forward says what the trace cannot: the shape of each value, which layers take
random numbers (the generator moved), which overwrite an input (its version counter moved) and which values share a
storage. Ideals reorder layers, so an in-place layer is made to depend on all earlier readers of what it overwrites.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

from profiler.errors import CaptureError
from profiler.execute import run_layer
from profiler.files import digest
from profiler.operations import Attribute, Captured, Operation, Ref, TensorSpec
from profiler.types import INPUT, Edge

PROBE_SEED = 0


def capture(model: nn.Module, name: str, sample: Tensor) -> Captured:
    """Return ``model`` as layers, each a graph node with torch.nn modules as leaves.

    Args:
        model: An unmodified model in training mode; its weights and buffers are left as they were.
        name: What to call it in messages.
        sample: One minibatch, ``(N, …)``.

    Raises:
        CaptureError: torch.fx cannot trace it, it rejects ``sample``, or its output is not one tensor ``(N, classes)``.
    """
    operations, output = _trace(model, name)
    if not operations:
        raise CaptureError(f"model '{name}' has no layers; name a model that computes something")
    probe = _Probe(model, name, operations, sample)
    probe.run()
    result = probe.values[output]
    if not (isinstance(result, Tensor) and result.ndim == 2 and len(result) == len(sample)):
        raise CaptureError(
            f"model '{name}' returns {_describe(result)}; the loss needs one tensor (N, classes), "
            "so wrap the model in a module that returns only that"
        )
    operations = tuple(
        dataclasses.replace(operation, draws=operation.name in probe.draws) for operation in probe.operations
    )
    edges = (*_data_edges(operations), *probe.order)
    together = _merge([*probe.together, *_sharing(model, operations), *_not_tensors(operations, probe.specs)])
    return Captured(
        name=name,
        model=model,
        operations=operations,
        specs=probe.specs,
        edges=edges,
        together=together,
        output=output,
        roots=probe.roots,
        overwrites=probe.overwrites,
        digest=_digest(operations, probe.specs, edges, together, model),
        canonical=_canonical(model),
        learning=frozenset(path for path, parameter in model.named_parameters() if parameter.requires_grad),
        parameters=_parameters(model, operations),
    )


def _trace(model: nn.Module, name: str) -> tuple[tuple[Operation, ...], str]:
    try:
        graph = fx.Tracer().trace(model)
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise CaptureError(
            f"model '{name}' cannot be captured: {reason[0]}; torch.fx needs a forward whose control flow does not "
            "depend on the data"
        ) from error
    names: dict[fx.Node, Any] = {}
    operations: list[Operation] = []
    taken: set[str] = {INPUT}
    output: Any = None
    for node in graph.nodes:
        if node.op == "placeholder":
            names[node] = _placeholder(node, names, name)
        elif node.op == "get_attr":
            names[node] = Attribute(str(node.target))
        elif node.op == "output":
            output = map_aggregate(node.args[0], lambda leaf: names.get(leaf, leaf))  # type: ignore[arg-type]
        else:
            operation = _operation(model, node, len(operations), names, taken)
            names[node] = Ref(operation.name)
            operations.append(operation)
    if not isinstance(output, Ref):
        raise CaptureError(
            f"model '{name}' returns several values or none; the loss needs one tensor (N, classes), so wrap the model "
            "in a module that returns only that (auxiliary heads are not trained yet)"
        )
    return tuple(operations), output.layer


def _placeholder(node: fx.Node, names: dict[fx.Node, Any], name: str) -> Any:
    if Ref(INPUT) not in names.values():
        return Ref(INPUT)
    if node.args:
        return node.args[0]
    raise CaptureError(
        f"model '{name}' takes a second input '{node.target}' without a default; wrap it in a module with one input"
    )


def _operation(model: nn.Module, node: fx.Node, index: int, names: dict[fx.Node, Any], taken: set[str]) -> Operation:
    target: Any = node.target
    if node.op == "call_module":
        path, target = str(node.target), model.get_submodule(str(node.target))
        kind, name = type(target).__name__, path
        repeat = 1
        while name in taken:
            name, repeat = f"{path}_{repeat}", repeat + 1
    else:
        kind = str(target) if node.op == "call_method" else getattr(target, "__name__", str(target))
        name = node.name if node.name not in taken else f"{node.name}_fn"
    taken.add(name)
    args: Any = map_aggregate(node.args, lambda leaf: names.get(leaf, leaf))  # type: ignore[arg-type]
    kwargs: Any = map_aggregate(node.kwargs, lambda leaf: names.get(leaf, leaf))  # type: ignore[arg-type]
    return Operation(index=index, name=name, kind=kind, target=target, args=args, kwargs=kwargs)


class _Probe:
    """One real forward in captured order; afterwards the model's buffers are as they were."""

    def __init__(self, model: nn.Module, name: str, operations: tuple[Operation, ...], sample: Tensor) -> None:
        self.model, self.name, self.sample = model, name, sample
        self.operations = list(operations)
        self.values: dict[str, Any] = {INPUT: sample.clone()}
        self.specs = {INPUT: _spec(INPUT, sample)}
        self.roots: dict[str, str] = {INPUT: INPUT}
        self.owners = {_storage(self.values[INPUT]): INPUT}
        self.overwrites: dict[str, str] = {}
        self.draws: set[str] = set()
        self.order: list[Edge] = []
        self.together: list[tuple[str, ...]] = []

    def run(self) -> None:
        buffers = {path: buffer.clone() for path, buffer in self.model.named_buffers()}
        attributes = {path: _fetch_attribute(self.model, path) for op in self.operations for path in op.attributes()}
        generator_state = torch.get_rng_state()
        try:
            for position in range(len(self.operations)):
                self._step(position, attributes)
        finally:
            torch.set_rng_state(generator_state)
            for path, buffer in self.model.named_buffers():
                buffer.copy_(buffers[path])

    def _step(self, position: int, attributes: dict[str, Tensor]) -> None:
        operation = self.operations[position]
        read = {name: value for name in operation.reads() if isinstance(value := self.values[name], Tensor)}
        # The counters are read now: a tensor that is overwritten in place stays the same object.
        versions = {name: value._version for name, value in read.items()}  # noqa: SLF001 - the only way to see a write
        drawn = torch.get_rng_state()
        try:
            run_layer(operation, self.values, attributes, PROBE_SEED, 0)
        except Exception as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise CaptureError(
                f"model '{self.name}' rejects input of shape {tuple(self.sample.shape)}: layer '{operation.name}' "
                f"({operation.kind}): {reason[0]}; try another --batch-size or --image-size"
            ) from error
        if not torch.equal(drawn, torch.get_rng_state()):
            self.draws.add(operation.name)
        output = self.values[operation.name]
        if isinstance(output, Tensor):
            self.specs[operation.name] = _spec(operation.name, output)
        self.roots[operation.name] = self._root(operation.name, output)
        written = [name for name, value in read.items() if value._version != versions[name]]  # noqa: SLF001
        for name in written:
            self._overwritten(position, name)

    def _root(self, name: str, output: Any) -> str:
        where = _storage(output)
        return self.owners.setdefault(where, name) if where else name

    def _overwritten(self, position: int, written: str) -> None:
        operation = self.operations[position]
        root = self.roots[written]
        aliases = {name for name, of in self.roots.items() if of == root and name != operation.name}
        self.overwrites[operation.name] = written
        for earlier in self.operations[:position]:
            if aliases & set(earlier.reads()):
                self.order.append(Edge(source=earlier.name, target=operation.name, kind="order"))
        in_place_of = self.values[operation.name] is self.values[written]
        for later_position in range(position + 1, len(self.operations)):
            later = self.operations[later_position]
            for name in aliases & set(later.reads()):
                if in_place_of and name == written:
                    later = _read_instead(later, name, operation.name)
                    self.operations[later_position] = later
                else:
                    self.together.append((operation.name, later.name, *(a for a in aliases if a != INPUT)))
        if not can_run_out_of_place(operation):
            if root == INPUT:
                raise CaptureError(
                    f"model '{self.name}': layer '{operation.name}' overwrites the model's input, which the next "
                    "minibatches need; let it write to a new tensor"
                )
            self.together.append((operation.name, *sorted(aliases)))


def _fetch_attribute(model: nn.Module, path: str) -> Tensor:
    """Return the parameter or buffer at ``path``."""
    owner, _, local = path.rpartition(".")
    found: Tensor = getattr(model.get_submodule(owner), local)
    return found


def can_run_out_of_place(operation: Operation) -> bool:
    """Say whether an in-place layer has a switch that makes it write to a new tensor."""
    return getattr(operation.target, "inplace", False) is True or operation.kwargs.get("inplace") is True


def _read_instead(operation: Operation, old: str, new: str) -> Operation:
    def swap(leaf: Any) -> Any:
        return Ref(new) if leaf == Ref(old) else leaf

    args: Any = map_aggregate(operation.args, swap)
    kwargs: Any = map_aggregate(operation.kwargs, swap)
    return dataclasses.replace(operation, args=args, kwargs=kwargs)


def _spec(name: str, tensor: Tensor) -> TensorSpec:
    stride = torch.empty_like(tensor, device="meta").stride()  # dense, in the tensor's own memory format
    return TensorSpec(
        name=name, shape=tuple(tensor.shape), stride=tuple(stride), dtype=tensor.dtype, gradient=tensor.requires_grad
    )


def _storage(value: Any) -> int:
    return value.untyped_storage().data_ptr() if isinstance(value, Tensor) else 0


def _data_edges(operations: Iterable[Operation]) -> list[Edge]:
    return [Edge(source=name, target=operation.name) for operation in operations for name in operation.reads()]


def _parameters(model: nn.Module, operations: Iterable[Operation]) -> dict[str, tuple[str, ...]]:
    """Name the parameters of each layer; one that several layers share is named at the first of them."""
    names = {id(parameter): path for path, parameter in model.named_parameters()}
    seen: set[int] = set()
    found = {}
    for operation in operations:
        own = dict.fromkeys(id(tensor) for tensor in _owned(model, operation) if id(tensor) in names)
        found[operation.name] = tuple(names[key] for key in own if key not in seen)
        seen.update(own)
    return found


def _canonical(model: nn.Module) -> dict[str, str]:
    first: dict[int, str] = {}
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {path: first.setdefault(id(tensor), path) for path, tensor in tensors}


def _owned(model: nn.Module, operation: Operation) -> list[Tensor]:
    """Return the parameters and buffers that a layer uses."""
    tensors = [_fetch_attribute(model, path) for path in operation.attributes()]
    if isinstance(operation.target, nn.Module):
        tensors += [*operation.target.parameters(), *operation.target.buffers()]
    return tensors


def _sharing(model: nn.Module, operations: Iterable[Operation]) -> list[tuple[str, ...]]:
    users: dict[int, list[str]] = {}
    for operation in operations:
        for key in {id(tensor) for tensor in _owned(model, operation)}:
            users.setdefault(key, []).append(operation.name)
    return [tuple(names) for names in users.values() if len(names) > 1]


def _not_tensors(operations: Iterable[Operation], specs: dict[str, TensorSpec]) -> list[tuple[str, ...]]:
    return [(operation.name, name) for operation in operations for name in operation.reads() if name not in specs]


def _merge(groups: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    import networkx as nx

    graph: nx.Graph[str] = nx.Graph()
    for group in groups:
        nx.add_path(graph, group)
    return tuple(sorted(tuple(sorted(part)) for part in nx.connected_components(graph)))


def _digest(
    operations: Iterable[Operation],
    specs: dict[str, TensorSpec],
    edges: Iterable[Edge],
    together: Iterable[tuple[str, ...]],
    model: nn.Module,
) -> str:
    lines = [f"{op.name} {op.kind} {op.reads()} {specs.get(op.name)}" for op in operations]
    lines += [f"{edge.source}>{edge.target}:{edge.kind}" for edge in edges]
    lines += [" ".join(group) for group in together]
    lines += [f"{path} {tuple(parameter.shape)} {parameter.dtype}" for path, parameter in model.named_parameters()]
    return digest("\n".join(lines).encode())


def _describe(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
