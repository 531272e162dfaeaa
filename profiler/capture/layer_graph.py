"""Capture a model as a graph of layers: follow a run, run that, and put together what every split has to respect."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import networkx as nx
from torch import Tensor, nn

from profiler.capture.following import follow
from profiler.capture.lend_weights import with_lent_weights
from profiler.capture.probe import Probe
from profiler.capture.sendable import make_sendable, refuse_unsendable
from profiler.capture.undo import untouched
from profiler.errors import CaptureError
from profiler.execution import (
    ONE_TENSOR,
    Attribute,
    Captured,
    Inputs,
    Loss,
    Operation,
    OwnLoss,
    Ref,
    TensorSpec,
    cross_entropy,
    fetch_attribute,
    tree_leaves,
)
from profiler.files import digest
from profiler.profile import BF16, FP32, INPUT, Edge, Form, Precision


def capture(
    model: nn.Module,
    name: str,
    sample: Tensor,
    loss: Loss = cross_entropy,
    targets: Tensor | None = None,
    *,
    precision: Precision = FP32,
    inputs: Inputs = ONE_TENSOR,
) -> Captured:
    """Return ``model`` as layers, each a graph node with torch.nn modules as leaves.

    Args:
        model: An unmodified model in training mode; its weights and buffers are left as they were.
        name: What to call it in messages.
        sample: One minibatch, ``(N, …)``.
        loss: What to train it for.
        targets: The sample's, which a loss of one's own is tried on, if they are given.
        precision: In which all layers run.
        inputs: How the model is called with a minibatch.
    """
    with untouched(model):
        operations, returned, inputs = follow(model, name, inputs, sample)
    loss, outputs = _losing(name, loss, returned)
    if not operations:
        raise CaptureError(f"model '{name}' has no layers; name a model that computes something")
    _refuse_late(model, name, operations)
    operations = with_lent_weights(model, operations)
    with untouched(model):
        probe = Probe(model, name, operations, outputs, sample)
        probe.run()
    _refuse_results(name, loss, [probe.values[output] for output in probe.outputs], len(sample), targets)
    captured = _put_together(probe, loss, inputs, sample)
    if precision != BF16:
        return captured
    with untouched(model):
        return lowered_model(captured, sample)


def _refuse_results(name: str, loss: Loss, results: Sequence[Any], batch_size: int, targets: Tensor | None) -> None:
    """Refuse a model whose results the loss does not take."""
    if not isinstance(loss, OwnLoss):
        _refuse_outputs(name, results, batch_size)
        return
    _refuse_unlearnable(name, results)
    if targets is not None:
        loss(results, targets)


def _put_together(probe: Probe, loss: Loss, inputs: Inputs, sample: Tensor) -> Captured:
    """Return the captured model that a probe has run, with what every split has to respect.

    Arguments as of ``capture``.
    """
    model, outputs = probe.model, tuple(probe.outputs)
    make_sendable(model)
    for operation in probe.operations:
        refuse_unsendable(operation, f"model '{probe.name}': layer '{operation.name}' ({operation.kind})")
    operations = tuple(
        dataclasses.replace(operation, uses_rng=operation.name in probe.uses_rng) for operation in probe.operations
    )
    edges = (*_data_edges(operations), *probe.order)
    inseparable = _merge(
        [
            *probe.inseparable,
            *_sharing(model, operations),
            *_not_tensors(operations, probe.specs),
            *_dead_ends(operations, outputs),
        ]
    )
    return Captured(
        name=probe.name,
        model=model,
        operations=operations,
        specs=probe.specs,
        edges=edges,
        inseparable=inseparable,
        outputs=outputs,
        roots=probe.roots,
        overwrites=probe.overwrites,
        digest=_digest(operations, probe.specs, edges, inseparable, model),
        canonical=_canonical(model),
        learning=frozenset(path for path, parameter in model.named_parameters() if parameter.requires_grad),
        parameters=_parameters(model, operations),
        loss=loss,
        inputs=inputs,
        sample=sample if inputs.packed else None,
    )


def _losing(name: str, loss: Loss, returned: Any) -> tuple[Loss, tuple[str, ...]]:
    """Return the loss as it takes what a model returns, and the layers whose outputs enter it."""
    heads = loss.heads(returned)
    if isinstance(loss, OwnLoss):
        loss = loss.of_model(returned)
        for _, leaf in tree_leaves(loss.tree):
            if isinstance(leaf, Attribute) or leaf == Ref(INPUT):
                what = leaf.path if isinstance(leaf, Attribute) else INPUT
                raise CaptureError(f"model '{name}' returns its own '{what}' as it is; return {what} * 1, say")
        heads = [head for head in heads if isinstance(head, Ref)]
    if not heads or not all(isinstance(head, Ref) for head in heads):
        raise CaptureError(
            f"model '{name}' returns {type(returned).__name__ if heads else 'nothing'}; the loss needs one tensor "
            "(N, classes), or a tuple of them, the main head first; wrap the model in a module that returns that, or "
            "say with loss= what it is trained for"
        )
    return loss, tuple(head.layer for head in heads)


def _refuse_late(model: nn.Module, name: str, operations: Iterable[Operation]) -> None:
    """Refuse a forward that reads what only a forward makes."""
    for path in (path for operation in operations for path in operation.attributes()):
        try:
            fetch_attribute(model, path)
        except AttributeError as error:
            raise CaptureError(f"model '{name}': its forward makes '{path}'; register it in __init__") from error


def _refuse_unlearnable(name: str, results: Sequence[Any]) -> None:
    learning = [result for result in results if isinstance(result, Tensor) and result.requires_grad]
    for result in results:
        if not learning or not isinstance(result, Tensor):
            raise CaptureError(
                f"model '{name}' returns {_describe(result)} that no gradient flows back from; wrap it in a module "
                "that returns only what the loss needs"
            )


def _refuse_outputs(name: str, results: Sequence[Any], batch_size: int) -> None:
    """Refuse outputs of the model ``name`` that have no cross-entropy, or that nothing can be learnt from."""
    for result in results:
        fits = isinstance(result, Tensor) and result.ndim > 1 and len(result) == batch_size and result.shape[-1] > 0
        if not fits or not result.is_floating_point() or result.shape != results[0].shape:
            raise CaptureError(
                f"model '{name}' returns {_describe(result)}, and the loss, where none is given, needs one tensor "
                "(N, …, classes) of floats for each head; wrap the model in a module that returns only that, or say "
                "with loss= what else it is trained for"
            )
    if not all(result.requires_grad for result in results):
        raise CaptureError(
            f"model '{name}' has nothing to train: its output depends on no parameter that requires a gradient"
        )


def _dead_ends(operations: Sequence[Operation], outputs: Sequence[str]) -> list[tuple[str, ...]]:
    """Keep layers that nobody reads with what they read, so that nothing is sent for their sake."""
    read = {name for operation in operations for name in operation.reads()} | set(outputs)
    dead = [operation for operation in operations if operation.name not in read]
    return [(operation.name, name) for operation in dead for name in operation.reads()[-1:] if name != INPUT]


def _data_edges(operations: Iterable[Operation]) -> list[Edge]:
    return [Edge(source=name, target=operation.name) for operation in operations for name in operation.reads()]


def _parameters(model: nn.Module, operations: Iterable[Operation]) -> dict[str, tuple[str, ...]]:
    """Name the parameters of each layer; one that several layers share is named at the first of them."""
    names = {id(parameter): path for path, parameter in model.named_parameters()}
    seen: set[int] = set()
    names_of = {}
    for operation in operations:
        own = dict.fromkeys(id(tensor) for tensor in _owned(model, operation) if id(tensor) in names)
        names_of[operation.name] = tuple(names[key] for key in own if key not in seen)
        seen.update(own)
    return names_of


def _canonical(model: nn.Module) -> dict[str, str]:
    first: dict[int, str] = {}
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {path: first.setdefault(id(tensor), path) for path, tensor in tensors}


def _owned(model: nn.Module, operation: Operation) -> list[Tensor]:
    """Return the parameters and buffers that a layer uses."""
    tensors = [fetch_attribute(model, path) for path in operation.attributes()]
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
    graph: nx.Graph[str] = nx.Graph()
    for group in groups:
        nx.add_path(graph, group)
    return tuple(sorted(tuple(sorted(part)) for part in nx.connected_components(graph)))


def _digest(
    operations: Iterable[Operation],
    specs: dict[str, TensorSpec],
    edges: Iterable[Edge],
    inseparable: Iterable[tuple[str, ...]],
    model: nn.Module,
) -> str:
    lines = [f"{op.name} {op.kind} {op.reads()} {op.settings} {_type(specs.get(op.name))}" for op in operations]
    lines += [f"{edge.source}>{edge.target}:{edge.kind}" for edge in edges]
    lines += [" ".join(group) for group in inseparable]
    lines += [f"{path} {tuple(parameter.shape)} {parameter.dtype}" for path, parameter in model.named_parameters()]
    return digest("\n".join(lines).encode())


def _type(spec: TensorSpec | None) -> str:
    return f"{spec.dtype} {spec.gradient}" if spec else "no tensor"


def _describe(value: Any) -> str:
    return (
        f"a tensor of shape {tuple(value.shape)} and type {value.dtype}"
        if isinstance(value, Tensor)
        else f"a {type(value).__name__}"
    )


def lowered_model(captured: Captured, sample: Tensor) -> Captured:
    """Return the model in bfloat16; ``captured``, with no layer cut, and its model are left as they are.

    Args:
        captured: As its model says.
        sample: One minibatch, ``(N, …)``.
    """
    operations = tuple(replace(operation, autocast=operation.autocast or "on") for operation in captured.operations)
    probe = Probe(captured.model, captured.name, operations, captured.outputs, sample)
    probe.run()
    loss = replace(captured.loss, lower=True) if isinstance(captured.loss, OwnLoss) else captured.loss
    return replace(captured, operations=operations, specs=probe.specs, form=Form(precision=BF16), loss=loss)
