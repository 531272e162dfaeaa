"""Draw several comparisons together: promise against measurement, batch sizes, models."""

from collections.abc import Sequence
from typing import Any

from profiler.report import MEBIBYTE
from runtime.compare import Comparison
from runtime.report.findings import SPACED, own_splits, rivals
from runtime.report.svg import ACCENT, INK, MUTED, RULE, picture
from runtime.report.warnings import mark

SERIES = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#9d755d", "#e45756", "#72b7b2", "#bab0ac")
BAND = 0.1


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
            axes.plot(*zip(*points, strict=True) if points else ([], []), "o", color=SERIES[number % len(SERIES)],
                      mec=INK, mew=0.5, ms=5, label=model)  # fmt: skip
        low, high = min(everything, default=1) / 1.15, max(everything, default=1) * 1.15
        axes.fill_between([low, high], [low * (1 - BAND), high * (1 - BAND)], [low * (1 + BAND), high * (1 + BAND)],
                          color=RULE, alpha=0.5, linewidth=0, label="within 10%")  # fmt: skip
        axes.plot([low, high], [low, high], color=MUTED, linewidth=1)
        if high > 4 * low:
            from matplotlib.ticker import LogLocator

            axes.set(xscale="log", yscale="log")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.set_major_formatter("{x:g}")
                axis.set_minor_formatter("")
        axes.set(xlim=(low, high), ylim=(low, high), xlabel="predicted samples/s", ylabel="measured samples/s")
        axes.legend(loc="upper left")
    return drawn.svg.decode()


def by_batch_size(comparisons: Sequence[Comparison]) -> str:
    """Return throughput and the largest stage's peak memory of every scheme against the batch size, of one model."""
    sizes = [comparison.request.batch_size for comparison in comparisons]
    names = [name for name in _named(comparisons) if not name.startswith(SPACED)]
    with picture(f"throughput and memory against batch size, {comparisons[0].request.model}", 5.2, 2) as drawn:
        above, below = drawn.axes
        for number, name in enumerate(names):
            ours = name == comparisons[0].reference
            colour = ACCENT if ours else SERIES[number % len(SERIES)]
            style: dict[str, Any] = {
                "color": colour,
                "linewidth": 2.4 if ours else 1.2,
                "marker": "o",
                "ms": 4 if ours else 3,
            }
            above.plot(range(len(sizes)), [_speed(comparison, name) for comparison in comparisons], label=name, **style)
            below.plot(range(len(sizes)), [peak_mib(comparison, name) for comparison in comparisons], **style)
        below.set_xticks(range(len(sizes)), [f"{own.request.batch_size}{_dagger(own)}" for own in comparisons])
        below.set_xlabel("batch size")
        above.set_ylabel("samples/s")
        below.set_ylabel("largest stage, peak MiB")
        for axes in drawn.axes:
            axes.set_ylim(bottom=0)
        drawn.figure.legend(loc="outside upper center", ncols=3)
    return drawn.svg.decode()


def across(comparisons: Sequence[Comparison]) -> str:
    """Return how fast every other partition ran beside the reference, for all models and batch sizes."""
    names = sorted({part.name for comparison in comparisons for part in rivals(comparison)})
    rows = [f"{own.request.model}, {own.request.batch_size}{_dagger(own)}" for own in comparisons]
    with picture(f"all models: every partition beside {references(comparisons)}", 1.3 + 0.3 * len(rows)) as drawn:
        axes = drawn.axes[0]
        axes.axvline(1, color=ACCENT, linewidth=2)
        for number, name in enumerate(names):
            points = [
                (speed, row)
                for row, comparison in enumerate(comparisons)
                if (speed := beside(comparison, name)) is not None
            ]
            axes.plot(*zip(*points, strict=True) if points else ([], []), "o", color=SERIES[number % len(SERIES)],
                      ms=5, mec=INK, mew=0.4, label=name)  # fmt: skip
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(f"speed beside {references(comparisons)} (the line)")
        drawn.figure.legend(loc="outside upper center", ncols=3)
    return drawn.svg.decode()


def references(comparisons: Sequence[Comparison]) -> str:
    """Return the names of what the ratios of comparisons are about."""
    return " or ".join(dict.fromkeys(comparison.reference for comparison in comparisons))


def beside(comparison: Comparison, name: str) -> float | None:
    """Return how fast a partition ran, the reference being 1."""
    part = comparison.summary.part(name)
    return 1 / part.ratio.median if part and part.ratio else None


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
