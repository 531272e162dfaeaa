"""Draw one comparison: speeds, stages with their memory, timelines."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from optimizer.plan import timeline
from profiler.report import MEBIBYTE, Drawing, drawing
from runtime.compare import Comparison, Contender, RunRecord
from runtime.report.findings import called, own_splits, samples_per_s
from runtime.results import Bar
from runtime.timeline import COLOURS, colour_key, draw_bars, kinds_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


INK, RULE, MUTED = "#1d2127", "#dcdfe3", "#9aa3ae"
"""The colours of the page by day."""
WIDTH_INCHES = 4.75
"""342 points: on a narrow phone, text comes out as large as it is drawn."""
_STYLE = {
    "font.size": 11,
    "axes.edgecolor": RULE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "path.simplify": True,
}


@contextmanager
def picture(title: str, height_inches: float, panels: int = 1, *, share_x: bool = True) -> Iterator[Drawing]:
    """Yield a figure of the page's width to draw in; on leaving, its SVG is there, to stand inside a page."""
    with drawing(title, WIDTH_INCHES, height_inches, panels, _STYLE, share_x=share_x) as drawn:
        yield drawn
    inline = drawn.svg[drawn.svg.index(b"<svg") :]
    # Names of groups, such as axes_1, are the same in every picture, and on a page a name stands once.
    drawn.svg = re.sub(rb' id="[A-Za-z0-9.]+_\d+"', b"", inline)


_MOST_SPLITS = 9


def speeds(comparison: Comparison) -> str:
    """Return each contender's throughput, and what was predicted."""
    rows = comparison.came_through[::-1]
    others = [row for row in comparison.unsplit if row.by_round]
    with picture(
        f"throughput of each partition, {_about(comparison)}", 0.9 + 0.27 * (len(rows) + len(others))
    ) as drawn:
        axes = drawn.axes[0]
        labels = []
        contenders = [*others[::-1], *rows]
        for place, row in enumerate(contenders):
            speed = samples_per_s(comparison, row)
            axes.barh(place, speed, 0.62, color=MUTED, alpha=0.85 if row.split else 0.4)
            if row.split:
                axes.plot(row.predicted_throughput_samples_per_s, place, "D", color="none", mec=INK, ms=4.5, mew=1)
            if row.split and row is contenders[-1]:
                _mark(axes, "◀ fastest", max(speed, row.predicted_throughput_samples_per_s), place)
            labels.append(called(comparison, row) if row.split else row.name)
        axes.set_yticks(range(len(labels)), labels)
        axes.margins(x=0.18)
        axes.set_xlim(left=0)
        axes.set_xlabel("samples/s; ◇ predicted")
        axes.grid(visible=False, axis="y")
    return drawn.svg.decode()


def stages(comparison: Comparison) -> str:
    """Return what every stage of every split is busy with, stacked, and its peak memory; the largest are marked."""
    parts = _drawn_splits(comparison)
    with_memory = all(stage.measured.peak_rss_bytes for part in parts for stage in part.stages)
    count, panels = comparison.request.num_stages, 2 if with_memory and parts else 1
    height = 1.0 + panels * (0.4 + 0.17 * (count + 0.8) * len(parts))
    with picture(f"stages of each split, {_about(comparison)}", height, panels, share_x=False) as drawn:
        for number, part in enumerate(parts):
            base = number * (count + 0.8)
            _busy(drawn.axes[0], part, base)
            if with_memory:
                _peaks(drawn.axes[1], part, base)
        for axes, unit in zip(drawn.axes, ("ms a minibatch", "peak MiB"), strict=False):
            bars = [(number * (count + 0.8) + stage, stage) for number in range(len(parts)) for stage in range(count)]
            axes.set_yticks([at for at, _ in bars], [
                f"{called(comparison, parts[place // count])}  {stage}" if not stage else str(stage)
                for place, (_, stage) in enumerate(bars)
            ], fontsize=9)  # fmt: skip
            axes.invert_yaxis()
            axes.margins(x=0.2)
            axes.set_xlim(left=0)
            axes.set_xlabel(f"{unit}; | predicted")
            axes.grid(visible=False, axis="y")
        splits = any(stage.measured.weights_s for part in parts for stage in part.stages)
        _legend(drawn.figure, [kind for kind in COLOURS if kind != "W" or splits])
    return drawn.svg.decode()


def _busy(axes: "Axes", part: Contender, base: float) -> None:
    slowest = max(part.stages, key=lambda stage: stage.busy_s)
    for at, stage in enumerate(part.stages):
        own = stage.measured
        pieces = {
            "F": own.forward_s, "B": own.backward_s, "W": own.weights_s, "U": own.update_s, "send": own.send_s,
        }  # fmt: skip
        start_s = 0.0
        for kind, piece_s in pieces.items():
            axes.barh(base + at, piece_s * 1e3, 0.85, left=start_s * 1e3, color=COLOURS[kind])
            start_s += piece_s
        axes.plot(stage.predicted_s * 1e3, base + at, "|", color=INK, ms=6, mew=1.4)
        if stage is slowest:
            _mark(axes, "◀ slowest", max(start_s, stage.predicted_s) * 1e3, base + at)


def _peaks(axes: "Axes", part: Contender, base: float) -> None:
    peaks = [(stage.measured.peak_rss_bytes or 0) / MEBIBYTE for stage in part.stages]
    for at, (peak, stage) in enumerate(zip(peaks, part.stages, strict=True)):
        predicted = stage.predicted_memory_bytes / MEBIBYTE
        axes.barh(base + at, peak, 0.85, color=MUTED)
        axes.plot(predicted, base + at, "|", color=INK, ms=6, mew=1.4)
        if peak == max(peaks):
            _mark(axes, "◀ largest", max(peak, predicted), base + at)


def _mark(axes: "Axes", text: str, x: float, y: float) -> None:
    axes.annotate(text, (x, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=9)


def timeline_s(part: Contender) -> float:
    """Return how long the recorded part of a split's first run lasted, or was to last; 0 where none ran."""
    run = _recorded(part)
    rows = [*run.timeline, *_predicted(part, run)] if run else []
    return max((bar[3] for row in rows for bar in row), default=0.0)


def timelines(comparison: Comparison, part: Contender, longest_s: float) -> str:
    """Return how the pipeline fills and runs: as predicted, and as it was in the first run; nothing if none ran.

    Args:
        comparison: What ran.
        part: The split.
        longest_s: Where the axis ends, for it to be that of the others.
    """
    run = _recorded(part)
    if run is None:
        return ""
    with picture(
        f"timeline of {part.name}, {_about(comparison)}", 1.5 + 0.36 * comparison.request.num_stages, 2
    ) as drawn:
        predicted, measured = drawn.axes
        _bars(predicted, _predicted(part, run), "predicted")
        _bars(measured, run.timeline, "measured")
        measured.set_xlabel("seconds from the first action")
        measured.set_xlim(0, longest_s)
        _legend(drawn.figure, kinds_in(run.timeline))
    return drawn.svg.decode()


def _recorded(part: Contender) -> RunRecord | None:
    """Return a run of a split whose timeline was kept."""
    return next((run for run in part.runs if run.timeline), None)


def _drawn_splits(comparison: Comparison) -> list[Contender]:
    """Return the splits with a name of their own that ran, in their order: the schemes from front to end."""
    parts = own_splits(comparison)
    return [part for part in parts if part.stages][:_MOST_SPLITS]


def _predicted(part: Contender, run: RunRecord) -> list[list[Bar]]:
    shown = 1 + max(span[1] for row in run.timeline for span in row)
    return [
        [
            (span.action.kind, span.action.minibatch, span.start_s, span.end_s)
            for span in row
            if span.action.minibatch < shown
        ]
        for row in timeline(part.plan.stages, part.plan.actions)
    ]


def _bars(axes: "Axes", rows: Sequence[Sequence[Bar]], label: str) -> None:
    draw_bars(axes, rows, [str(stage) for stage in range(len(rows))])
    axes.set_title(label, loc="left", fontsize=10)
    axes.grid(visible=False)


def _legend(figure: "Figure", kinds: Iterable[str]) -> None:
    handles = colour_key(kinds)
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))


def _about(comparison: Comparison) -> str:
    return f"{comparison.request.model}, batch {comparison.request.batch_size}"
