"""Run layers: the one way in which a layer is run, whether it is timed in a profile or trains in a stage.

Randomness is seeded by (run, layer, minibatch), so that a dropout mask is the same whatever the split.
"""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.node import map_aggregate

from profiler.execution.graph import Attribute, Operation, Ref
from profiler.execution.linear import has_place, linear

Values = dict[str, Any]

AUXILIARY_WEIGHT = 0.3
"""What an auxiliary head's loss counts beside the main one's: Szegedy et al., "Going deeper", CVPR 2015, section 5."""


def run_layer(
    operation: Operation, values: Values, attributes: Mapping[str, Tensor], run_seed: int, minibatch: int
) -> None:
    """Run one layer on the values that it reads and put its output beside them."""
    if operation.uses_rng:
        torch.default_generator.manual_seed(layer_seed(run_seed, operation.index, minibatch))

    def fetch(leaf: Any) -> Any:
        if isinstance(leaf, Ref):
            return values[leaf.layer]
        return attributes[leaf.path] if isinstance(leaf, Attribute) else leaf

    args: Any = map_aggregate(operation.args, fetch)
    kwargs: Any = map_aggregate(operation.kwargs, fetch) if operation.kwargs else {}
    target = operation.target
    if isinstance(target, str):
        values[operation.name] = getattr(args[0], target)(*args[1:], **kwargs)
    elif has_place(target, args[0] if args else None):
        values[operation.name] = linear(target, *args)
    else:
        values[operation.name] = target(*args, **kwargs)


def loss(outputs: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of the main head, plus ``AUXILIARY_WEIGHT`` times that of each further one.

    Args:
        outputs: One tensor ``(N, classes)`` a head, the main one first.
        labels: ``(N,)``.
    """
    result = nn.functional.cross_entropy(outputs[0], labels)
    for output in outputs[1:]:
        result = result + AUXILIARY_WEIGHT * nn.functional.cross_entropy(output, labels)
    return result


def heads(returned: Any) -> list[Any]:
    """Return what a model returns as a list of its heads: the main one, then the auxiliary ones that it trains."""
    return [leaf for leaf in returned if leaf is not None] if isinstance(returned, (tuple, list)) else [returned]


def layer_seed(run_seed: int, layer_index: int, minibatch: int) -> int:
    """Return a 63-bit seed that depends on all three and on nothing else."""
    key = struct.pack("<qqq", run_seed, layer_index, minibatch)
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") >> 1
