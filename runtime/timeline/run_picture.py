"""Draw a run: a row for each stage, a bar for each action, and nothing where it waited; the bars of all timelines."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from optimizer.schedule import KIND_NAMES
from profiler.report import drawing
from runtime.results import Bar, RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch


COLOURS = {"F": "#4c78a8", "B": "#54a24b", "W": "#a5d29a", "U": "#f58518", "send": "#b279a2"}
"""Of each kind of action, and of sending to a neighbour."""
_NAMES = {str(kind): name for kind, name in KIND_NAMES.items()} | {"send": "send"}


def draw_bars(axes: "Axes", rows: Sequence[Sequence[Bar]], names: Sequence[str]) -> None:
    """Draw a timeline into ``axes``: a row of bars for each rank, the first at the top, nothing where it waited."""
    for number, row in enumerate(rows):
        for kind in KIND_NAMES:
            spans = [(start_s, end_s - start_s) for own, _, start_s, end_s in row if own == kind]
            axes.broken_barh(spans, (number - 0.42, 0.84), facecolors=COLOURS[kind], edgecolor="white", linewidth=0.3)
    axes.set_yticks(range(len(rows)), list(names))
    axes.invert_yaxis()


def kinds_in(rows: Iterable[Iterable[Bar]]) -> list[str]:
    """Return the kinds of actions in a timeline."""
    there = {kind for row in rows for kind, *_ in row}
    return [kind for kind in KIND_NAMES if kind in there]


def colour_key(kinds: Iterable[str]) -> "list[Patch]":
    """Return what a legend says of kinds of actions."""
    from matplotlib.patches import Patch

    return [Patch(color=COLOURS[kind], label=_NAMES[kind]) for kind in kinds]


_MOST_LABELS = 400


def picture_of(result: RunResult) -> bytes:
    """Return the picture as SVG."""
    plan, rows = result.plan, result.timeline(result.minibatches)
    makespan_s = max(row[-1][-1] for row in rows)
    labelled = sum(map(len, rows)) <= _MOST_LABELS
    with drawing(plan.model, 12, 0.8 + 0.55 * len(rows)) as drawn:
        axes = drawn.axes[0]
        draw_bars(axes, rows, [f"stage {stage.stage}" for stage in result.stages])
        for number, row in enumerate(rows if labelled else ()):
            for kind, minibatch, start_s, end_s in row:
                if kind != "U" and end_s - start_s > makespan_s / 80:
                    place = (start_s + end_s) / 2, number
                    axes.text(*place, str(minibatch), ha="center", va="center", color="white", fontsize=7)
        axes.set(xlabel="seconds", xlim=(0, makespan_s))
        axes.set_title(
            f"{plan.model}, {plan.schedule}, batch {result.batch_size}, {result.clock} clock: "
            "each bar is one minibatch in one stage"
        )
        axes.legend(handles=colour_key(kinds_in(rows)), loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return drawn.svg
