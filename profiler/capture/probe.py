"""Run a captured model once and note what its calls do not say.

The shape of each value; which layers take random numbers (the generator moved); which overwrite an input (its version
counter moved); and which values share a storage. Ideals reorder layers, so an in-place layer is made to depend on all
earlier readers of what it overwrites.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from profiler.errors import CaptureError, one_line
from profiler.execution import Operation, Ref, fetch_attribute, run_layer, spec_of, storage_of
from profiler.execution.graph import out_of_place
from profiler.machine import shortage
from profiler.profile import INPUT, Edge

PROBE_SEED = 0


class Probe:
    """One real forward in captured order, which changes the model's buffers as any forward does."""

    def __init__(
        self, model: nn.Module, name: str, operations: tuple[Operation, ...], outputs: Sequence[str], sample: Tensor
    ) -> None:
        """Prepare to run ``operations`` of ``model``, whose results are those of ``outputs``, on ``sample``."""
        self.model, self.name, self.outputs, self.sample = model, name, list(outputs), sample
        self.operations = list(operations)
        self.values: dict[str, Any] = {INPUT: sample.clone()}
        self.specs = {INPUT: spec_of(INPUT, sample)}
        self.roots: dict[str, str] = {INPUT: INPUT}
        self.owners = {storage_of(self.values[INPUT]): INPUT}
        self.overwrites: dict[str, str] = {}
        self.uses_rng: set[str] = set()
        self.order: list[Edge] = []
        self.inseparable: list[tuple[str, ...]] = []

    def run(self) -> None:
        """Run all layers."""
        attributes = {path: fetch_attribute(self.model, path) for op in self.operations for path in op.attributes()}
        generator_state = torch.get_rng_state()
        try:
            for position in range(len(self.operations)):
                self._step(position, attributes)
        finally:
            torch.set_rng_state(generator_state)

    def _step(self, position: int, attributes: dict[str, Tensor]) -> None:
        operation = self.operations[position]
        read = {name: value for name in operation.reads() if isinstance(value := self.values[name], Tensor)}
        # The counters are read now: a tensor that is overwritten in place stays the same object.
        versions = {name: value._version for name, value in read.items()}  # noqa: SLF001 - the only way to see a write
        drawn = torch.get_rng_state()
        try:
            run_layer(operation, self.values, attributes, PROBE_SEED, 0)
        except Exception as error:
            raise shortage(error, f"layer '{operation.name}' of model '{self.name}'") or CaptureError(
                f"model '{self.name}' rejects input of shape {tuple(self.sample.shape)}: layer '{operation.name}' "
                f"({operation.kind}): {one_line(error)}"
            ) from error
        if not torch.equal(drawn, torch.get_rng_state()):
            self.uses_rng.add(operation.name)
        output = self.values[operation.name]
        if isinstance(output, Tensor):
            self.specs[operation.name] = spec_of(operation.name, output)
        self.roots[operation.name] = self._root(operation.name, output)
        written = [name for name, value in read.items() if value._version != versions[name]]  # noqa: SLF001
        for name in written:
            self._overwritten(position, name)

    def _root(self, name: str, output: Any) -> str:
        where = storage_of(output)
        return self.owners.setdefault(where, name) if where else name

    def _overwritten(self, position: int, written: str) -> None:
        operation = self.operations[position]
        root = self.roots[written]
        aliases = {name for name, of in self.roots.items() if of == root and name != operation.name}
        self.overwrites[operation.name] = written
        for earlier in self.operations[:position]:
            if aliases & set(earlier.reads()) and earlier.name not in operation.reads():
                self.order.append(Edge(source=earlier.name, target=operation.name, kind="order"))
        in_place_of = self.values[operation.name] is self.values[written]
        for head in aliases & set(self.outputs):
            if in_place_of and head == written:
                self.outputs = [operation.name if output == head else output for output in self.outputs]
            else:
                self.inseparable.append((operation.name, head))
        for later_position in range(position + 1, len(self.operations)):
            later = self.operations[later_position]
            for name in aliases & set(later.reads()):
                if in_place_of and name == written:
                    later = _read_instead(later, name, operation.name)
                    self.operations[later_position] = later
                else:
                    self.inseparable.append((operation.name, later.name, *(a for a in aliases if a != INPUT)))
        if out_of_place(operation) is None:
            if root == INPUT:
                raise CaptureError(
                    f"model '{self.name}': layer '{operation.name}' overwrites the model's input, which the next "
                    "minibatches need; let it write to a new tensor"
                )
            self.inseparable.append((operation.name, *sorted(aliases)))


def _read_instead(operation: Operation, old: str, new: str) -> Operation:
    def swap(leaf: Any) -> Any:
        return Ref(new) if leaf == Ref(old) else leaf

    return operation.with_leaves(swap)
