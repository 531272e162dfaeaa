"""Fold the layers of a model that has many into modules."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from profiler.profile import Layer

MOST = 40
"""So many rows are shown as they are."""
_SUMMED = ("forward_s", "backward_s", "update_s", "saved_bytes")


def folded(layers: Sequence[Layer], most: int = MOST) -> list[Layer]:
    """Return a row for each layer, or for each module where layers are more than ``most``; in captured order."""
    return [_together(_module(group[0], _depth(layers, most)), group) for group in groups(layers, most)]


def groups(layers: Sequence[Layer], most: int = MOST) -> list[list[Layer]]:
    """Return the layers of each of these rows."""
    depth = _depth(layers, most)
    return [list(own) for _, own in groupby(layers, lambda layer: _module(layer, depth) if depth else layer.name)]


def _depth(layers: Sequence[Layer], most: int) -> int:
    """Return the deepest level of nesting that leaves few enough modules; 0 where layers are few enough, or 1."""
    if len(layers) <= most:
        return 0
    deepest = max((_home(layer).count(".") + 1 for layer in layers), default=1)
    for depth in range(deepest, 1, -1):
        if sum(1 for _ in groupby(layers, lambda layer: _module(layer, depth))) <= most:  # noqa: B023
            return depth
    return 1


def _home(layer: Layer) -> str:
    """Return the path of the module that a layer is, or whose forward calls it."""
    return layer.name if layer.kind[:1].isupper() else layer.name.rpartition(".")[0]


def _module(layer: Layer, depth: int) -> str:
    return ".".join(_home(layer).split(".")[:depth])


def _together(name: str, layers: Sequence[Layer]) -> Layer:
    """Return some layers as one row shows them; it hands on what the last of them does."""
    if len(layers) == 1:
        return layers[0]
    return replace(
        layers[-1],
        name=name or f"{layers[0].name} … {layers[-1].name}",
        kind=f"{len(layers)} layers",
        **{field: sum(getattr(layer, field) for layer in layers) for field in _SUMMED},
    )
