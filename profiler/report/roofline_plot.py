"""Draw the roofline of a profile as an SVG: what each layer achieves, under what the core could do."""

import math
from typing import TYPE_CHECKING

from profiler.profile import Layer, Peaks, Profile, bound, compute_s, intensity, operations, ridge
from profiler.report.figure import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"compute": "#b2182b", "memory": "#2166ac"}
NAMED = 6
"""So many of the costliest layers are named."""


def roofline_svg(profile: Profile) -> bytes:
    """Return the plot; each layer is a disc whose area is its time."""
    assert profile.peaks is not None
    peaks = profile.peaks
    drawn = [layer for layer in profile.layers if operations(layer) and compute_s(layer)]
    whole_s = sum(map(compute_s, drawn))
    with drawing(profile.model, 8, 5) as plot:
        axes = plot.axes[0]
        _roof(axes, peaks, drawn)
        for kind, colour in COLOURS.items():
            layers = [layer for layer in drawn if bound(layer, peaks) == kind]
            axes.scatter(
                [intensity(layer) for layer in layers],
                [operations(layer) / compute_s(layer) / 1e9 for layer in layers],
                s=[8 + 2000 * compute_s(layer) / whole_s for layer in layers],
                color=colour,
                alpha=0.6,
                linewidths=0,
                label=f"{kind}-bound, {sum(map(compute_s, layers)) / whole_s:.0%} of the time",
            )
        _name(axes, sorted(drawn, key=compute_s)[-NAMED:], whole_s)
        axes.set(xscale="log", yscale="log", xlabel="FLOP per byte touched", ylabel="GFLOP/s achieved")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter("")
        axes.set_title(f"{profile.model}, batch {profile.batch_size}, one core of {profile.machine.cpu}")
        axes.legend(loc="lower right", markerscale=0.4, frameon=False)
        axes.grid(alpha=0.2, which="both")
    return plot.svg


def _name(axes: "Axes", layers: list[Layer], whole_s: float) -> None:
    """Write the names of layers beside their discs; those at one place below each other."""
    taken: dict[tuple[int, int], int] = {}
    for layer in sorted(layers, key=compute_s, reverse=True):
        x, y = intensity(layer), operations(layer) / compute_s(layer) / 1e9
        place = (round(3 * math.log10(x)), round(3 * math.log10(y)))
        line = taken[place] = taken.get(place, 0) + 1
        axes.annotate(
            f"{layer.name}, {compute_s(layer) / whole_s:.0%}",
            (x, y),
            xytext=(10, -10 * line),
            textcoords="offset points",
            fontsize=8,
        )


def _roof(axes: "Axes", peaks: Peaks, drawn: list[Layer]) -> None:
    intensities = [intensity(layer) for layer in drawn] or [1.0]
    left, right = min(*intensities, 0.1) / 2, max(*intensities, ridge(peaks)) * 4
    corner = ridge(peaks)
    axes.plot(
        [left, corner, right],
        [left * peaks.bytes_per_s / 1e9, peaks.flops_per_s / 1e9, peaks.flops_per_s / 1e9],
        color="black",
        linewidth=1.2,
        label=f"roof: {peaks.flops_per_s / 1e9:.0f} GFLOP/s, {peaks.bytes_per_s / 1e9:.1f} GB/s",
    )
