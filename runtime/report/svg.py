"""Draw pictures for the page: small figures as inline SVG, whose fonts and dark colours the page's CSS sets."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from profiler.report import Drawing, drawing

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
