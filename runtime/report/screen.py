"""Show a comparison on one screen, or several in a row each."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from profiler.cli import live_console
from profiler.report import ResultTable, counted
from runtime.compare import Awaited, Comparison, Step, duration, left
from runtime.report.findings import answer, insight, memory, title, worth
from runtime.report.tables import leaders_table, rank_of, splits_table
from runtime.report.warnings import REMEDY, firmness, left_to_say

if TYPE_CHECKING:
    from rich.console import Console


MOST_ROWS = 7
"""Splits that a screen has room for; the report has all."""


def show_comparison(comparison: Comparison, console: "Console", then: Sequence[str] = ()) -> None:
    """Print a comparison on one screen: the answer, how sure it is, why, the table, and what comes next.

    Args:
        comparison: What is known of it.
        console: Where to.
        then: Lines at the end: where the details are, what to type next.
    """
    pace = comparison.partitions[0].plan.pace.words
    firm, _, remedy = firmness(comparison).partition(REMEDY)
    console.print(f"{title(comparison)}, {pace}, {comparison.clock} clock: {firm}")
    if remedy:
        console.print(f"{REMEDY.strip()} {remedy}", soft_wrap=True)
    for line in (answer(comparison), worth(comparison), insight(comparison)):
        if line:
            console.print(line)
    console.print(splits_table(comparison, MOST_ROWS))
    for line in (comparison.audit.verdict, memory(comparison), _in_report(comparison)):
        if line:
            console.print(line)
    for line in then:
        console.print(line, soft_wrap=True)


def _in_report(comparison: Comparison) -> str:
    """Say what only the report has: splits for which there is no room, and other doubts."""
    hidden = len(comparison.standing) - MOST_ROWS
    names = dict.fromkeys(doubt.name for doubt in left_to_say(comparison))
    parts = [counted(hidden, "more split")] if hidden > 0 else []
    return f"In the report: {', '.join([*parts, *names])}." if parts or names else ""


def show_leaders(comparisons: Sequence[Comparison], console: "Console", heading: str = "") -> None:
    """Print which split of each comparison is the fastest, a row each."""
    console.print(leaders_table(comparisons, heading))


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
