"""A segment: the layers that one process runs, with what it receives, what it sends and when a value dies.

The profiler times the segment of all layers; a stage runs the segment of its own. A segment is pickled to its process
with its modules, hence the places where parameters and buffers are bound are part of it.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from profiler.execution.autocast import keeping_casts
from profiler.execution.graph import Captured, Operation, TensorSpec, out_of_place
from profiler.execution.layer import Values, run_layer
from profiler.execution.loss import Loss
from profiler.execution.split_backward import is_separable
from profiler.profile import INPUT


@dataclass(frozen=True, slots=True)
class Place:
    """Where a parameter or buffer is bound: an attribute of a module, or (without a module) an argument of a layer."""

    module: nn.Module | None
    local: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The layers that one process runs.

    Attributes:
        drops: For each operation, the values that nobody reads after it.
        parameters: Paths of the parameters that learn, in captured order.
        constants: Paths of buffers and of parameters that do not learn.
        outputs: The values that enter the loss where this is the last segment, else none.
    """

    operations: tuple[Operation, ...]
    drops: tuple[tuple[str, ...], ...]
    receives: tuple[TensorSpec, ...]
    sends: tuple[TensorSpec, ...]
    parameters: tuple[str, ...]
    constants: tuple[str, ...]
    places: tuple[Place, ...]
    outputs: tuple[str, ...]
    loss: Loss

    @property
    def separable(self) -> tuple[str, ...]:
        """Paths of the weights of layers whose backward can be in two: run once, and nothing else reads a parameter."""
        readers = Counter(place.path for place in self.places)
        calls = Counter(id(operation.target) for operation in self.operations)
        single = {
            id(operation.target)
            for operation in self.operations
            if is_separable(operation.target) and len(operation.args) == 1 and not operation.kwargs
        }
        shared = {id(place.module) for place in self.places if readers[place.path] > 1}
        return tuple(
            place.path
            for place in self.places
            if place.local == "weight" and id(place.module) in single - shared and calls[id(place.module)] == 1
        )

    @property
    def placeable(self) -> tuple[str, ...]:
        """Those of linear layers, whose gradient may have a place."""
        linear = {place.path for place in self.places if type(place.module) is nn.Linear}
        return tuple(path for path in self.separable if path in linear)

    def forward(self, values: Values, attributes: dict[str, Any], run_seed: int, minibatch: int) -> None:
        """Run all layers; ``values`` holds what is received before and what is sent (or enters the loss) after."""
        with keeping_casts():  # for a weight that several layers use is cast once
            for operation, dead in zip(self.operations, self.drops, strict=True):
                run_layer(operation, values, attributes, run_seed, minibatch)
                for name in dead:
                    del values[name]


def segment_of(captured: Captured, layers: Collection[str], receives: Sequence[str], sends: Sequence[str]) -> Segment:
    """Return the segment of ``layers``, which reads ``receives`` and hands on ``sends``; without any it is the last.

    An in-place layer whose input was received writes to a new tensor, for the received one is a leaf in a shared slot.
    """
    outputs = () if sends else captured.outputs
    chosen = [operation for operation in captured.operations if operation.name in layers]
    operations = tuple(_local(captured, operation, layers) for operation in chosen)
    places = tuple(_places(captured, chosen, operations))
    paths = tuple(dict.fromkeys(place.path for place in places))
    return Segment(
        operations=operations,
        drops=_drops(operations, keep={*sends, *outputs}),
        receives=tuple(captured.specs[name] for name in receives),
        sends=tuple(captured.specs[name] for name in sends),
        parameters=tuple(path for path in paths if path in captured.learning),
        constants=tuple(path for path in paths if path not in captured.learning),
        places=places,
        outputs=outputs,
        loss=captured.loss,
    )


def whole(captured: Captured) -> Segment:
    """Return the segment of all layers."""
    return segment_of(captured, captured.layer_names, [INPUT], [])


def _local(captured: Captured, operation: Operation, layers: Collection[str]) -> Operation:
    written = captured.overwrites.get(operation.name)
    if written is None or captured.roots[written] in layers:
        return operation
    apart = out_of_place(operation)
    assert apart is not None
    return apart


def _drops(operations: Sequence[Operation], keep: Collection[str]) -> tuple[tuple[str, ...], ...]:
    last: dict[str, int] = {}
    for position, operation in enumerate(operations):
        last |= dict.fromkeys((operation.name, *operation.reads()), position)
    dying: list[list[str]] = [[] for _ in operations]
    for name, position in last.items():
        if name not in keep:
            dying[position].append(name)
    return tuple(tuple(names) for names in dying)


def _places(captured: Captured, chosen: Sequence[Operation], operations: Sequence[Operation]) -> Iterator[Place]:
    paths = {id(module): f"{path}." if path else "" for path, module in captured.model.named_modules()}
    bound: set[int] = set()
    for original, operation in zip(chosen, operations, strict=True):
        for path in operation.attributes():
            yield Place(None, path, captured.canonical[path])
        if not isinstance(original.target, nn.Module) or not isinstance(operation.target, nn.Module):
            continue
        for twin, module in zip(original.target.modules(), operation.target.modules(), strict=True):
            if id(module) in bound:
                continue
            bound.add(id(module))
            for local, tensor in [*module._parameters.items(), *module._buffers.items()]:  # noqa: SLF001 - bound here
                if tensor is not None:
                    yield Place(module, local, captured.canonical[paths[id(twin)] + local])
