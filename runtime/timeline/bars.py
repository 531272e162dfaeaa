"""Draw timelines as bars, in the same colours wherever they stand."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from optimizer.schedule import KIND_NAMES
from runtime.results import Bar

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
