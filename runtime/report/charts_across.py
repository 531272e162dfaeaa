"""Draw several comparisons together: promise against measurement, and batch sizes."""

from collections.abc import Sequence
from math import isnan

from profiler.report import MEBIBYTE
from runtime.compare import Comparison
from runtime.report.findings import SPACED, own_splits
from runtime.report.svg import INK, MUTED, RULE, picture
from runtime.report.warnings import mark

MARKERS = "osD^vP*X"
"""Series are told apart by their marks and names: colours are those of forward, backward and update."""
BAND = 0.1
ROOM_FOR_NAMES, BETWEEN_NAMES = 1.45, 0.075
"""Shares of an axis that names beside the ends of lines take."""


def promise(comparisons: Sequence[Comparison]) -> str:
    """Return predicted against measured throughput of every split that ran, with a band of ±10%."""
    models = list(dict.fromkeys(comparison.request.model for comparison in comparisons))
    with picture(f"predicted against measured, {', '.join(models)}", 3.4) as drawn:
        axes = drawn.axes[0]
        everything: list[float] = []
        for number, model in enumerate(models):
            points = [
                (part.predicted_throughput_samples_per_s, part.throughput_samples_per_s.median)
                for comparison in comparisons
                if comparison.request.model == model
                for part in own_splits(comparison)
                if part.throughput_samples_per_s
            ]
            everything += [value for point in points for value in point]
            if points:
                marker = MARKERS[number % len(MARKERS)]
                axes.plot(*zip(*points, strict=True), marker, color=MUTED, mec=INK, mew=0.7, ms=6, linestyle="none")
                axes.annotate(model, max(points), xytext=(-8, 4), textcoords="offset points", ha="right", fontsize=10)
        low, high = min(everything, default=1) / 1.15, max(everything, default=1) * 1.15
        axes.fill_between([low, high], [low * (1 - BAND), high * (1 - BAND)], [low * (1 + BAND), high * (1 + BAND)],
                          color=RULE, alpha=0.5, linewidth=0)  # fmt: skip
        axes.plot([low, high], [low, high], color=MUTED, linewidth=1)
        if high > 4 * low:
            from matplotlib.ticker import LogLocator

            axes.set(xscale="log", yscale="log")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.set_major_formatter("{x:g}")
                axis.set_minor_formatter("")
        axes.set(xlim=(low, high), ylim=(low, high), ylabel="measured samples/s",
                 xlabel="predicted samples/s; grey: within 10%")  # fmt: skip
    return drawn.svg.decode()


def by_batch_size(comparisons: Sequence[Comparison]) -> str:
    """Return throughput and the largest stage's peak memory of every scheme against the batch size, of one model."""
    sizes = [comparison.request.batch_size for comparison in comparisons]
    names = [name for name in _named(comparisons) if not name.startswith(SPACED)]
    places = range(len(sizes))
    with picture(f"throughput and memory against batch size, {comparisons[0].request.model}", 5.6, 2) as drawn:
        for axes, value, label in zip(
            drawn.axes, (_speed, peak_mib), ("samples/s", "largest stage, peak MiB"), strict=True
        ):
            ends: list[tuple[float, str]] = []
            for number, name in enumerate(names):
                ours = name == comparisons[0].reference
                values = [value(comparison, name) for comparison in comparisons]
                axes.plot(places, values, color=INK if ours else MUTED, linewidth=2.2 if ours else 1.1, ms=4,
                          marker=MARKERS[number % len(MARKERS)])  # fmt: skip
                if not isnan(values[-1]):
                    ends.append((values[-1], name))
            axes.set_ylim(bottom=0)
            axes.set_xlim(-0.1, (len(sizes) - 1) * ROOM_FOR_NAMES)
            axes.set_ylabel(label)
            for place, name in _apart(ends, axes.get_ylim()[1] * BETWEEN_NAMES):
                weight = "bold" if name == comparisons[0].reference else "normal"
                axes.annotate(name, (len(sizes) - 1, place), xytext=(7, 0), textcoords="offset points", va="center",
                              fontsize=9, fontweight=weight)  # fmt: skip
        drawn.axes[1].set_xticks(places, [f"{own.request.batch_size}{_dagger(own)}" for own in comparisons])
        drawn.axes[1].set_xlabel("batch size")
    return drawn.svg.decode()


def _apart(ends: Sequence[tuple[float, str]], least: float) -> list[tuple[float, str]]:
    """Return labels with their places, moved up where the one below is nearer than ``least``."""
    moved: list[tuple[float, str]] = []
    for place, name in sorted(ends):
        moved.append((max(place, moved[-1][0] + least) if moved else place, name))
    return moved


def peak_mib(comparison: Comparison, name: str) -> float:
    """Return the peak of a partition's largest stage in MiB; not a number where it is not known."""
    part = comparison.summary.part(name)
    peaks = [stage.measured.peak_rss_bytes for stage in part.stages] if part else []
    measured = [peak for peak in peaks if peak is not None]
    return max(measured) / MEBIBYTE if measured else float("nan")


def _dagger(comparison: Comparison) -> str:
    """Return the sign that stands where there is no room for the doubts themselves."""
    return "†" if mark(comparison) else ""


def _named(comparisons: Sequence[Comparison]) -> list[str]:
    return list(dict.fromkeys(part.name for comparison in comparisons for part in comparison.summary.partitions))


def _speed(comparison: Comparison, name: str) -> float:
    part = comparison.summary.part(name)
    return part.throughput_samples_per_s.median if part and part.throughput_samples_per_s else float("nan")
