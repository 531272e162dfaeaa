"""Name what stages hold as the model's own ``state_dict`` does, and the other way round.

Stages know a tensor by its first path in the captured model; of a layer that is cut inside, each block has rows of its
own. In a ``state_dict`` a tied tensor has several keys, and a sliced layer's rows are one tensor.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor, nn

from profiler.execution import Captured

T = TypeVar("T")


def to_model_keys(captured: Captured, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return ``tensors``, which stages know by path, by the keys of the model's ``state_dict``.

    Args:
        captured: The model; what its tensors hold is of no interest.
        tensors: Parameters, buffers, or anything shaped like them, such as momenta; some may be missing.
    """
    model = copy.deepcopy(captured.model)
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        for own in (module._parameters, module._buffers):  # noqa: SLF001 - filled
            for local, tensor in own.items():
                value = None if tensor is None else tensors.get(captured.canonical[prefix + local])
                if value is not None:
                    parameter = isinstance(tensor, nn.Parameter)
                    own[local] = nn.Parameter(value, requires_grad=False) if parameter else value
    return {key: tensor.detach() for key, tensor in model.state_dict().items() if not tensor.is_meta}


def from_model_keys(captured: Captured, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what ``state`` has by the keys of the model's ``state_dict``, by the paths that stages know it by."""
    model = without_tensors(captured.model, [*captured.model.parameters(), *captured.model.buffers()])
    model.load_state_dict(dict(state), strict=False, assign=True)
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    by_path: dict[str, Tensor] = {}
    for path, tensor in named:
        if not tensor.is_meta:
            by_path.setdefault(captured.canonical[path], tensor.detach())
    return by_path


def own_key(captured: Captured, path: str) -> str:
    """Return the key of the model's ``state_dict`` that a parameter belongs to: a block's, that of the whole layer."""
    owner, _, local = path.rpartition(".")
    layer = owner.rpartition(".")[0]
    return f"{layer}.{local}" if layer in captured.sliced else path


def without_tensors(thing: T, tensors: Sequence[Tensor]) -> T:
    """Return a copy with shapes in the place of ``tensors``; what is tied stays tied, and so has one path as before."""
    shapes: dict[int, Any] = {}
    for tensor in tensors:
        bare = tensor.detach().to("meta")
        shapes[id(tensor)] = nn.Parameter(bare, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else bare
    return copy.deepcopy(thing, shapes)
