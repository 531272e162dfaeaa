"""The columns of a profile's table: of a layer, of all layers together, and in words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from profiler.profile import Layer, Profile, Timing, parts_s
from profiler.report.text import mib

View = Literal["time", "memory"]
VIEWS: tuple[View, ...] = ("time", "memory")


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: Its heading, unique; with ``±`` the half-width of the column before.
        explanation: What it means, where the heading does not say.
    """

    view: View
    name: str
    cell: Callable[[Profile, Layer], str]
    total: Callable[[Profile], str] = lambda _profile: ""
    explanation: str = ""


def precise_ms(seconds: float) -> str:
    """Return milliseconds with the digits that mean something."""
    return f"{seconds * 1e3:.3f}" if seconds < 0.01 else f"{seconds * 1e3:.1f}"


def half_width(timing: Timing | None) -> str:
    """Return half the interval as a share of the median."""
    return f"{(timing.high_s - timing.low_s) / 2 / timing.median_s:.0%}" if timing and timing.median_s else ""


def _bytes(name: str, size: Callable[[Profile, Layer], int], explanation: str = "") -> Column:
    return Column(
        "memory",
        name,
        lambda profile, layer: mib(size(profile, layer), 2),
        lambda profile: mib(sum(size(profile, layer) for layer in profile.layers), 2),
        explanation,
    )


def _operations(layer: Layer) -> int:
    return layer.flops + layer.backward_flops


def _momenta(profile: Profile, layer: Layer) -> int:
    return layer.learning_bytes * profile.momenta


def _time(part: str, explanation: str = "") -> Column:
    """Return the column of ``forward_s``, ``backward_s`` or ``update_s``."""

    def total(profile: Profile) -> str:
        loss_s = getattr(profile.loss, f"{part}_s", 0.0)  # which has no update
        return precise_ms(sum(getattr(layer, f"{part}_s") for layer in profile.layers) + loss_s)

    return Column(
        "time", f"{part} ms", lambda _profile, layer: precise_ms(getattr(layer, f"{part}_s")), total, explanation
    )


def _interval(part: str, explanation: str = "") -> Column:
    return Column(
        "time", f"{part} ±", lambda _profile, layer: half_width(getattr(layer, part)), explanation=explanation
    )


COLUMNS = (
    _time("forward"),
    _interval("forward"),
    _time("backward"),
    _interval("backward", "±: half the 95% interval."),
    _time("update", "Update: with the write of the next weight version."),
    Column(
        "time",
        "send ms",
        lambda profile, layer: precise_ms(profile.copy_cost.seconds(layer.output_bytes)),
        explanation="Send: copying the output into a slot, paid before a cut only.",
    ),
    Column(
        "time",
        "share",
        lambda profile, layer: f"{layer.step_s / parts_s(profile.layers, profile.loss):.1%}",
        lambda _profile: "100.0%",
        "Share: of forward, backward and update.",
    ),
    Column(
        "time",
        "GFLOP",
        lambda _profile, layer: f"{_operations(layer) / 1e9:.3f}",
        lambda profile: f"{sum(map(_operations, profile.layers)) / 1e9:.3f}",
        "GFLOP: 10⁹ operations of products and convolutions, forward and backward; a multiply-add is two.",
    ),
    _bytes("output MiB", lambda _profile, layer: layer.output_bytes),
    _bytes("params MiB", lambda _profile, layer: layer.parameter_bytes),
    _bytes("gradients MiB", lambda _profile, layer: layer.learning_bytes),
    _bytes("momentum MiB", _momenta),
    _bytes(
        "saved MiB",
        lambda _profile, layer: layer.saved_bytes,
        "Saved: kept for the backward, at the layer that made it.",
    ),
    Column(
        "memory",
        "transient MiB",
        lambda _profile, layer: mib(layer.transient_bytes, 2),
        lambda profile: f"max {mib(max(layer.transient_bytes for layer in profile.layers), 2)}",
        "Transient: needed for a moment beyond all the other columns but output.",
    ),
)


def columns(view: View) -> list[Column]:
    """Return the columns of a view."""
    return [column for column in COLUMNS if column.view == view]


MOST = 40
"""So many rows are shown as they are."""
_SUMMED = (
    "forward_s", "backward_s", "update_s", "parameter_bytes", "learning_bytes", "saved_bytes", "flops",
    "backward_flops",
)  # fmt: skip


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
    """Return some layers as if they were one, which hands on what the last of them does."""
    if len(layers) == 1:
        return layers[0]
    sums = {field: sum(getattr(layer, field) for layer in layers) for field in _SUMMED}
    return replace(
        layers[-1],
        name=name or f"{layers[0].name} … {layers[-1].name}",
        kind=f"{len(layers)} layers",
        transient_bytes=max(layer.transient_bytes for layer in layers),
        forward=None,
        backward=None,
        update=None,
        **sums,
    )
