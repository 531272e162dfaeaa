"""Turn a matplotlib figure into inline SVG that takes the font, ink and colours of the page around it."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, RULE, ACCENT, MUTED = "#010203", "#010204", "#010205", "#010206"
"""Stand for the page's own colours; no picture shows these."""
_PAGE = {INK: "currentColor", RULE: "var(--rule)", ACCENT: "var(--accent)", MUTED: "var(--muted)"}
WIDTH_INCHES = 4.75
"""342 points: on a narrow phone, text comes out as large as it is drawn."""
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9,
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
    "legend.fontsize": 8,
    "path.simplify": True,
}


class Picture:
    """A figure that is being drawn, and its SVG when that is done.

    Attributes:
        svg: The picture as inline SVG.
    """

    def __init__(self, figure: "Figure", axes: "list[Axes]") -> None:
        """Hold the figure and its axes."""
        self.figure, self.axes, self.svg = figure, axes, ""


@contextmanager
def picture(title: str, height_inches: float, panels: int = 1) -> Iterator[Picture]:
    """Yield a figure to draw in, whose panels share the x axis; on leaving, its SVG is there.

    Args:
        title: What a screen reader says; it also keeps the names inside apart from other pictures' on the page.
        height_inches: Of the whole.
        panels: How many axes, one below the other.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context({**_STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots(panels, sharex=True, squeeze=False)
        drawn = Picture(figure, list(axes[:, 0]))
        yield drawn
        target = io.StringIO()
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None})
    drawn.svg = _inline(target.getvalue(), title)


def _inline(text: str, title: str) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(
        r"<svg[^>]*?viewBox=\"([^\"]*)\"[^>]*>",
        rf'<svg viewBox="\1" role="img" aria-label="{escape(title)}">',
        text,
        count=1,
    )
    used = set(re.findall(r"#([\w.-]+)", text))
    text = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", text)
    text = re.sub(r' d="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), text)  # 1/100 point is enough
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    for stand_in, own in _PAGE.items():
        text = text.replace(stand_in, own)
    return re.sub(r"\s*\n\s*", "\n", text.replace("xlink:href", "href"))
