"""Show a comparison while it runs: a row for each contender that fills as runs end, and the time left; on stderr."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from profiler.cli import live_console
from profiler.report import ResultTable
from runtime.compare import Awaited, Comparison, Step, duration, left
from runtime.report.findings import title
from runtime.report.tables import rank_of

SHOWN = 5
"""So many of the last runs are shown."""


@contextmanager
def live_progress(awaited: Awaited) -> Iterator[Callable[[Comparison, Step | None], None]]:
    """Yield what has to be called before each run, with what is known and what comes; it shows nothing elsewhere.

    Args:
        awaited: How long the other comparisons will take.
    """
    from rich.live import Live

    console = live_console()
    if console is None:
        yield lambda _comparison, _step: None
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield lambda comparison, step: live.update(rows(comparison, step, time.time(), awaited), refresh=True)


def rows(comparison: Comparison, step: Step | None, now_s: float, awaited: Awaited) -> ResultTable:
    """Return a table of the contenders: what was predicted of each, its runs so far, its rank, and what runs now.

    Args:
        comparison: What is known so far.
        step: The run that is under way; None between two runs.
        now_s: The time, in seconds since the epoch.
        awaited: How long other comparisons of the same command take.
    """
    left_s = left(comparison) + awaited.last_s
    clock = _clock(now_s + left_s)
    first = ""
    if awaited.first_s is not None:
        first = f"first answer {_clock(now_s + left(comparison, 1) + awaited.first_s)}, "
    done = f"round {min(comparison.rounds + 1, comparison.request.repeats)} of {comparison.request.repeats}"
    table = ResultTable(
        f"{title(comparison)}: {done}, {first}about {duration(left_s)} left, until {clock}",
        ("", "predicted", "samples/s, run by run", "median", "rank"),
        words=("", "samples/s, run by run"),
    )
    for own in (*comparison.standing, comparison.one_core, *comparison.baselines):
        shown = "  ".join(
            "failed" if run.failure else f"{run.throughput_samples_per_s:.1f}" for run in own.runs[-SHOWN:]
        )
        running = step is not None and step.name == own.name
        waits = " …" if running else ""
        spread = own.throughput_samples_per_s
        table.add_row(
            own.name,
            f"{own.predicted_throughput_samples_per_s:.1f}" if own.split else "",
            f"{shown}{waits}",
            f"{spread.median:.1f}" if spread else "",
            rank_of(own, comparison) if own.split else "",
            style="bold" if running else "",
        )
    return table


def _clock(at_s: float) -> str:
    return time.strftime("%H:%M", time.localtime(at_s))
