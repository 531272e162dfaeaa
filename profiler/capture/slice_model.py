"""Cut layers of a captured model into blocks of their output features, or say why one cannot be cut.

Blocks are chained by order edges, for they are interchangeable and would only multiply the cuts. What else reads the
layer's input keeps its place beside the blocks, so that the input's gradient is summed up in the same order wherever
the cuts fall.
"""

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from profiler.errors import ConfigError, suggest
from profiler.execution import (
    Blocks,
    Captured,
    Functional,
    Operation,
    Ref,
    Size,
    TensorSpec,
    feature_dim,
    is_plain,
    part_names,
    spec_of,
)
from profiler.profile import INPUT, Edge, Pieces, Slicing, pieces_of

OTHER_KIND = "only linear layers and convolutions have output features of their own"


def sliceable(captured: Captured) -> dict[str, tuple[int, str]]:
    """Return for each layer its output features, and why it cannot be cut into blocks of them; nothing where it can."""
    calls = Counter(id(operation.target) for operation in captured.operations)
    paths = Counter(captured.canonical.values())
    readers: Counter[str] = Counter(
        captured.canonical[path] for operation in captured.operations for path in operation.attributes()
    )
    return {
        operation.name: _judged(captured, operation, calls[id(operation.target)], paths, readers)
        for operation in captured.operations
    }


def _judged(
    captured: Captured, operation: Operation, calls: int, paths: Mapping[str, int], readers: Mapping[str, int]
) -> tuple[int, str]:
    layer = operation.target
    if operation.name.rpartition(".")[0] in captured.sliced:
        features = len(layer.weight) if isinstance(layer, (nn.Linear, nn.Conv2d)) else 0
        return features, "it is part of a layer that is cut already"
    if not is_plain(layer, nn.Linear, nn.Conv2d):
        return 0, _why_other(operation)
    assert isinstance(layer, (nn.Linear, nn.Conv2d))
    if {name for name, _ in layer.named_parameters()} - {"weight", "bias"} or list(layer.buffers()):
        return 0, "it holds more than a weight and a bias"
    own = captured.parameters[operation.name]
    if isinstance(layer, nn.Conv2d) and layer.groups > 1:
        return 0, f"its output channels are in {layer.groups} groups, each with an input of its own"
    if calls > 1 or len(own) < len(list(layer.parameters())) or any(paths[path] > 1 or readers[path] for path in own):
        return 0, "its parameters are shared"
    features = len(layer.weight)
    return features, "" if features > 1 else "it has one output feature"


def _why_other(operation: Operation) -> str:
    """Return why a layer cannot be cut that is no plain linear layer or convolution."""
    if operation.opaque:
        return operation.opaque
    if isinstance(operation.target, (nn.Linear, nn.Conv2d)):
        return "it is not torch's own, or has hooks or a parametrization"
    lent = isinstance(operation.target, Functional) and operation.kind == nn.Linear.__name__
    return "its parameters are shared" if lent else OTHER_KIND


def sliced_model(captured: Captured, slicing: Slicing) -> Captured:
    """Return the model with layers in blocks; ``captured`` and its model are left as they are.

    Parameters of a block are named below its layer, ``classifier.1.block0.weight``; ``state_dict`` of the model has the
    layer's own keys. Seeds of random layers and the digest are those of the model whose layers are whole.
    """
    for layer, pieces in pieces_of(slicing).items():
        captured = _cut(captured, layer, _lengths(layer, pieces, sliceable(captured)))
    return replace(captured, form=replace(captured.form, slicing=slicing))


def _lengths(layer: str, pieces: Pieces, layers: Mapping[str, tuple[int, str]]) -> Pieces:
    """Return how many features each block has; of even ones, the first have one more where it does not go up."""
    if layer not in layers:
        can = [name for name, (_, reason) in layers.items() if not reason]
        raise ConfigError(f"there is no layer '{layer}' to slice{suggest(layer, can or layers)}")
    features, reason = layers[layer]
    if reason:
        raise ConfigError(f"{layer} cannot be sliced: {reason}; leave it out of --slice")
    if len(pieces) > 1:
        if sum(pieces) != features:
            raise ConfigError(f"{layer} has {features} output features, and its blocks {sum(pieces)}; make them equal")
        return pieces
    (count,) = pieces
    if count > features:
        raise ConfigError(f"{layer} has {features} output features and cannot be cut into {count} blocks; name fewer")
    return tuple(features // count + (number < features % count) for number in range(count))


def _cut(captured: Captured, layer: str, lengths: Pieces) -> Captured:
    at = captured.layer_names.index(layer)
    operation = captured.operations[at]
    target = operation.target
    assert isinstance(target, (nn.Linear, nn.Conv2d))
    path = next(path for path, module in captured.model.named_modules() if module is target)
    blocks = Blocks(target, lengths)
    model = _replaced(captured.model, path.split("."), blocks)
    *_, concat = names = part_names(layer, len(lengths))
    parts = tuple(_operations(operation, names, blocks))
    renamed = {layer: concat}
    own = set(captured.parameters[layer])
    rows = {path: parameter for path, parameter in model.named_parameters() if path not in captured.canonical}
    learning = {path for path, parameter in rows.items() if parameter.requires_grad}
    return replace(
        captured,
        model=model,
        operations=(
            *(_reading(other, renamed) for other in captured.operations[:at]),
            *parts,
            *(_reading(other, renamed) for other in captured.operations[at + 1 :]),
        ),
        specs=_specs(captured.specs, layer, names, lengths, feature_dim(target)),
        edges=_cut_edges(captured.edges, captured.layer_names, layer, len(lengths)),
        inseparable=tuple(tuple(renamed.get(name, name) for name in group) for group in captured.inseparable),
        outputs=tuple(renamed.get(name, name) for name in captured.outputs),
        roots={renamed.get(name, name): renamed.get(root, root) for name, root in captured.roots.items()}
        | {name: name for name in names[:-1]},
        overwrites={name: renamed.get(value, value) for name, value in captured.overwrites.items()},
        canonical={path: first for path, first in captured.canonical.items() if first not in own}
        | {path: path for path in rows},
        learning=captured.learning - own | learning,
        parameters={name: paths for name, paths in captured.parameters.items() if name != layer}
        | {name: tuple(row for row in rows if row.startswith(f"{path}.{name.rpartition('.')[2]}.")) for name in names},
        sliced=captured.sliced | {layer},
    )


def _cut_edges(edges: Sequence[Edge], order: Sequence[str], layer: str, count: int) -> tuple[Edge, ...]:
    """Return the edges of a graph in which ``layer`` is cut; ``order`` are its layers, that one whole."""
    *blocks, concat = part_names(layer, count)
    place = {name: at for at, name in enumerate(order)}
    result: list[Edge] = []
    for edge in edges:
        if edge.target == layer:
            result += [replace(edge, target=block) for block in blocks]
        elif edge.source == layer and edge.kind == "data":
            result.append(replace(edge, source=concat))
        elif edge.source == layer:  # what overwrites the input waits for all who read it
            result += [replace(edge, source=block) for block in blocks]
        else:
            result.append(edge)
    result += [Edge(source=block, target=concat) for block in blocks]
    result += [Edge(source=a, target=b, kind="order") for a, b in pairwise(blocks)]
    read = {edge.source for edge in edges if edge.target == layer and edge.kind == "data"} - {INPUT}
    beside = {edge.target for edge in edges if edge.source in read and edge.kind == "data"} - {layer}
    for name in sorted(beside, key=place.__getitem__):
        before = place[name] < place[layer]
        ends = (name, blocks[0]) if before else (blocks[-1], name)
        result.append(Edge(source=ends[0], target=ends[1], kind="order"))
    return tuple(dict.fromkeys(result))


def _operations(operation: Operation, names: Sequence[str], blocks: Blocks) -> Iterator[Operation]:
    *block_names, concat_name = names
    *modules, concat = blocks.parts()
    for name, module in zip(block_names, modules, strict=True):
        yield replace(operation, name=name, target=module)
    refs = tuple(Ref(name) for name in block_names)
    yield replace(operation, name=concat_name, kind=type(concat).__name__, target=concat, args=refs, kwargs={})


def _reading(operation: Operation, renamed: Mapping[str, str]) -> Operation:
    def rename(leaf: object) -> object:
        if isinstance(leaf, Size):
            return replace(leaf, layer=renamed.get(leaf.layer, leaf.layer))
        return Ref(renamed.get(leaf.layer, leaf.layer)) if isinstance(leaf, Ref) else leaf

    if not set(operation.reads()) & set(renamed):
        return operation
    return operation.with_leaves(rename)


def _specs(
    specs: Mapping[str, TensorSpec], layer: str, names: Sequence[str], lengths: Pieces, dim: int
) -> dict[str, TensorSpec]:
    whole = specs[layer]
    *blocks, concat = names
    result = {name: spec for name, spec in specs.items() if name != layer} | {concat: replace(whole, name=concat)}
    tensor: Tensor = torch.empty_strided(whole.shape, whole.stride, dtype=whole.dtype, device="meta")
    for name, part in zip(blocks, torch.split(tensor, list(lengths), dim), strict=True):
        result[name] = replace(spec_of(name, part), gradient=whole.gradient)
    return result


def _replaced(module: nn.Module, path: Sequence[str], new: nn.Module) -> nn.Module:
    """Return a copy of ``module`` in which the module at ``path`` is ``new``; everything else is shared."""
    changed = copy.copy(module)
    child = new if len(path) == 1 else _replaced(module.get_submodule(path[0]), path[1:], new)
    changed._modules = {**module._modules, path[0]: child}  # noqa: SLF001 - a copy shares its tables with the original
    return changed
