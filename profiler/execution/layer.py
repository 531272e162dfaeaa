"""Run layers: the one way in which a layer is run, whether it is timed in a profile or trains in a stage.

Randomness is seeded by (run, layer, minibatch), so that a dropout mask is the same whatever the split.
"""

import hashlib
import struct
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx.node import map_aggregate

from profiler.execution.autocast import autocasting, in_float32
from profiler.execution.graph import Attribute, Operation, Ref, Size
from profiler.execution.split_backward import has_own_backward, output_of

Values = dict[str, Any]


def run_layer(
    operation: Operation, values: Values, attributes: Mapping[str, Tensor], run_seed: int, minibatch: int
) -> None:
    """Run one layer on the values that it reads and put its output beside them."""
    if operation.uses_rng:
        torch.default_generator.manual_seed(layer_seed(run_seed, operation.index, minibatch))

    def fetch(leaf: Any) -> Any:
        if isinstance(leaf, Ref):
            value = values[leaf.layer]
            return in_float32(value) if operation.autocast == "off" else value
        if isinstance(leaf, Size):
            return leaf.of(values[leaf.layer])
        return attributes[leaf.path] if isinstance(leaf, Attribute) else leaf

    args: Any = map_aggregate(operation.args, fetch)
    kwargs: Any = map_aggregate(operation.kwargs, fetch) if operation.kwargs else {}
    if operation.autocast == "on":
        with autocasting():
            values[operation.name] = _output(operation.target, args, kwargs)
    else:
        values[operation.name] = _output(operation.target, args, kwargs)


def _output(target: Any, args: Any, kwargs: Any) -> Any:
    """Return what a layer makes of its arguments."""
    if isinstance(target, str):
        return getattr(args[0], target)(*args[1:], **kwargs)
    if has_own_backward(target, args[0] if args else None):
        return output_of(target, *args)
    return target(*args, **kwargs)


def layer_seed(run_seed: int, layer_index: int, minibatch: int) -> int:
    """Return a 63-bit seed that depends on all three and on nothing else."""
    key = struct.pack("<qqq", run_seed, layer_index, minibatch)
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") >> 1
