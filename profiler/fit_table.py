"""Show what a fit says beside what was measured where it was checked."""

from typing import TYPE_CHECKING

from profiler.columns import ms, step_s
from profiler.fit import Fit
from profiler.types import Profile

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = 10


def show_fit(fit: Fit, measured: Profile, console: "Console") -> None:
    """Print the costliest layers as fitted and as measured at the batch size that was checked."""
    from rich import box
    from rich.table import Table

    first, last, size = fit.low.batch_size, fit.high.batch_size, measured.batch_size
    fitted = fit.at(size)
    table = Table(
        title=f"{measured.model}: a line for each layer, batch {first} to {last}, checked at {size}",
        caption=f"Step ms: forward, backward and update. At batch {size}, which the line through the ends had not "
        f"seen, all parts together were {fit.step_error:+.1%} off, and one of the ten costliest layers "
        f"{fit.layer_error:.1%} at most; the line that is kept took it in as well. Plan with python -m optimizer "
        "--profile FILE --batch-size N.",
        caption_justify="left",
        box=box.SIMPLE,
    )
    table.add_column("layer", no_wrap=True)
    for name in (f"batch {first} ms", f"batch {size} ms", "measured ms", f"batch {last} ms", "a sample more ms"):
        table.add_column(name, justify="right")
    order = sorted(range(len(measured.layers)), key=lambda at: step_s(measured.layers[at]), reverse=True)
    for at in order[:SHOWN]:
        low_s, high_s = step_s(fit.low.layers[at]), step_s(fit.high.layers[at])
        table.add_row(
            measured.layers[at].name, ms(low_s), ms(step_s(fitted.layers[at])), ms(step_s(measured.layers[at])),
            ms(high_s), ms(max(0.0, high_s - low_s) / (last - first)),
        )  # fmt: skip
    console.print(table)
