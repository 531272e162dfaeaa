"""Show a comparison while it runs: a row for each contender that fills as runs end, and the time left; on stderr."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from profiler.report import ResultTable
from runtime.compare import ONE_CORE, Comparison, Step
from runtime.compare.remaining_time import duration, left
from runtime.report.comparison_table import rank_of
from runtime.report.findings import title

SHOWN = 5
"""So many of the last runs are shown."""


@contextmanager
def live_progress(*, quiet: bool, later_s: float = 0.0) -> Iterator[Callable[[Comparison, Step | None], None]]:
    """Yield what has to be called before each run, with what is known and what comes; it shows nothing elsewhere.

    Args:
        quiet: Whether to show nothing at all.
        later_s: How long the comparisons after this one will take.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda _comparison, _step: None
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield lambda comparison, step: live.update(rows(comparison, step, time.time(), later_s), refresh=True)


def rows(comparison: Comparison, step: Step | None, now_s: float, later_s: float = 0.0) -> ResultTable:
    """Return the table: what was predicted of each contender, its runs so far, and what is running."""
    left_s = left(comparison) + later_s
    clock = time.strftime("%H:%M", time.localtime(now_s + left_s))
    done = f"round {min(comparison.rounds + 1, comparison.request.repeats)} of {comparison.request.repeats}"
    table = ResultTable(
        f"{title(comparison)}: {done}, about {duration(left_s)} left, until {clock}",
        ("", "predicted", "samples/s, run by run", "median", "rank"),
        words=("", "samples/s, run by run"),
    )
    splits = {part.name: part for part in comparison.standing}
    others = {ONE_CORE: comparison.one_core} | {baseline.row: baseline for baseline in comparison.baselines}
    for name, contender in (splits | others).items():
        runs = [run for run in comparison.runs if run.name == name and run.series == "main"]
        shown = "  ".join("failed" if run.failure else f"{run.throughput_samples_per_s:.1f}" for run in runs[-SHOWN:])
        running = step is not None and step.name == name
        waits = " alone …" if running and step is not None and step.series == "alone" else " …" if running else ""
        spread, part = contender.throughput_samples_per_s, splits.get(name)
        table.add_row(
            name,
            f"{part.predicted_throughput_samples_per_s:.1f}" if part else "",
            f"{shown}{waits}",
            f"{spread.median:.1f}" if spread else "",
            rank_of(part, comparison) if part else "",
            style="bold" if running else "",
        )
    return table
