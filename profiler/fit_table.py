"""Show how well a fit does where it was checked."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from profiler.columns import ms
from profiler.doubts import FIT_LIMIT, more_or_less
from profiler.fit import Fit, through_ends
from profiler.types import Profile, parts_s

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = 10


def show_fit(fit: Fit, profiles: Sequence[Profile], path: Path, console: "Console") -> None:
    """Print the costliest layers: as measured, and what the line through the two ends says in between."""
    from rich import box
    from rich.table import Table

    low, middle, high = profiles
    guess = through_ends(low, high).at(middle.batch_size)
    size = middle.batch_size
    table = Table(
        title=f"{middle.model}: a line for each layer, batch {low.batch_size} to {high.batch_size}, checked at {size}",
        caption=_verdict(fit, path),
        caption_justify="left",
        box=box.SIMPLE,
    )
    table.add_column("layer", no_wrap=True)
    names = (
        f"batch {low.batch_size} ms", f"batch {high.batch_size} ms", "ms per extra sample", f"batch {size} by line ms",
        f"batch {size} measured ms", "off",
    )  # fmt: skip
    for name in names:
        table.add_column(name, justify="right")
    order = sorted(range(len(middle.layers)), key=lambda at: middle.layers[at].step_s, reverse=True)
    for at in order[:SHOWN]:
        times_s = [one.layers[at].step_s for one in (low, high, guess, middle)]
        table.add_row(middle.layers[at].name, *_cells(times_s, high.batch_size - low.batch_size))
    times_s = [parts_s(one.layers, one.loss) for one in (low, high, guess, middle)]
    table.add_row("all parts", *_cells(times_s, high.batch_size - low.batch_size))
    console.print(table)


def _cells(times_s: Sequence[float], extra: int) -> list[str]:
    low_s, high_s, line_s, measured_s = times_s
    slope_s = max(0.0, (high_s - low_s) / extra)
    off = f"{line_s / measured_s - 1:+.1%}" if measured_s else ""
    return [ms(low_s), ms(high_s), ms(slope_s), ms(line_s), ms(measured_s), off]


def _verdict(fit: Fit, path: Path) -> str:
    good = (
        "good enough to plan with" if abs(fit.step_error) <= FIT_LIMIT else "too far off: profile the batch size itself"
    )
    return (
        f"Forward, backward and update. At batch {fit.checked_batch_size} the line through the two ends gives "
        f"{more_or_less(fit.step_error)} than was measured, {good}; the file's line goes by all three. Plan with "
        f"python -m optimizer --profile {path} --batch-size N, N from {fit.low.batch_size} to {fit.high.batch_size}."
    )
