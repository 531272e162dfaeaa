"""What each layer keeps for its backward, in bytes, from one untimed forward.

A storage counts once, at the layer that produced it, whichever layer saves it; parameters and the model's input do not
count.
"""

from typing import Any

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from profiler.execution import Segment, WeightVersions, leaves, run_layer
from profiler.profile import INPUT


def saved_bytes(segment: Segment, versions: WeightVersions, sample: Tensor) -> tuple[int, ...]:
    """Return what each layer of ``segment``, in its order, keeps for input ``sample``."""
    values: dict[str, Any] = {INPUT: sample}
    excluded = {_key(tensor) for tensor in (sample, *versions.tensors().values(), *versions.constants.values())}
    producers: dict[int, int] = {}
    saved: dict[int, int] = {}
    alive = []  # until the end, so that no address is used twice
    position = 0

    def keep(tensor: Tensor) -> None:
        key = _key(tensor)
        if key not in excluded and key not in saved:
            saved[key] = tensor.untyped_storage().nbytes()
            producers.setdefault(key, position)
        # The storage, not the tensor: the graph would hold a tensor that holds the graph, and neither were ever freed.
        alive.append(tensor.untyped_storage())

    versions.bind()
    with saved_tensors_hooks(keep, lambda kept: kept):  # no backward asks for them
        for position, operation in enumerate(segment.operations):
            run_layer(operation, values, versions.attributes, 0, 0)
            for output in leaves(values[operation.name]):
                if isinstance(output, Tensor):
                    producers.setdefault(_key(output), position)
    per_layer = [0] * len(segment.operations)
    for key, size in saved.items():
        per_layer[producers[key]] += size
    return tuple(per_layer)


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
