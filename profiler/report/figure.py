"""Draw a figure and save it as an SVG: the one place that knows how; the same drawing gives the same bytes."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from profiler.machine.interrupts import uninterrupted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Drawing:
    """A figure that is being drawn.

    Attributes:
        figure: The whole; ``axes``, its panels from top to bottom.
    """

    def __init__(self, figure: "Figure", axes: "list[Axes]") -> None:
        """Hold the figure and its axes."""
        self.figure, self.axes, self.svg = figure, axes, b""


@contextmanager
def drawing(
    title: str,
    width_inches: float,
    height_inches: float,
    panels: int = 1,
    style: Mapping[str, Any] | None = None,
    *,
    share_x: bool = True,
) -> Iterator[Drawing]:
    """Yield a figure to draw in; on leaving, its SVG is there.

    Args:
        title: What it shows; names inside the file follow from it, so that those of two drawings differ.
        width_inches: Of the whole.
        height_inches: Likewise.
        panels: How many axes, one below the other, which may share the x axis.
        style: Settings of matplotlib, beside those that all drawings have; with any, the background is transparent.
        share_x: Whether the panels have one x axis.
    """
    with uninterrupted():  # what is imported in part is of no use to what is drawn at the end
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

    settings: dict[Any, Any] = {"svg.fonttype": "none", "text.parse_math": False, "font.size": 10, **(style or {})}
    with mpl.rc_context({**settings, "svg.hashsalt": title}):
        figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
        FigureCanvasSVG(figure)
        drawn = Drawing(figure, list(figure.subplots(panels, sharex=share_x, squeeze=False)[:, 0]))
        yield drawn
        target = io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(target, format="svg", transparent=style is not None, metadata=nothing)
    drawn.svg = target.getvalue()
