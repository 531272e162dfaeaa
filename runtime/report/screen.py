"""Show a comparison on one screen, or several in a row each."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from profiler.report import counted, shell_lines
from runtime.compare import Comparison
from runtime.report.findings import answer, insight, memory, not_these_cores, title, worth
from runtime.report.tables import leaders_table, splits_table
from runtime.report.warnings import CALLED, firmness, left_to_say, remedy

if TYPE_CHECKING:
    from rich.console import Console


MOST_ROWS = 8
"""Splits that a screen has room for; the report has all."""


def show_comparison(comparison: Comparison, console: "Console", then: Sequence[str] = ()) -> None:
    """Print a comparison on one screen: the answer, how sure it is, why, the table, and what comes next.

    Args:
        comparison: What is known of it.
        console: Where to.
        then: Lines at the end: where the details are, what to type next.
    """
    pace = comparison.partitions[0].plan.pace.words
    console.print(f"{title(comparison)}, {pace}, {comparison.clock} clock: {firmness(comparison)}")
    for line in (not_these_cores(comparison), answer(comparison), worth(comparison), insight(comparison)):
        if line:
            console.print(line)
    console.print(splits_table(comparison, MOST_ROWS))
    for line in (comparison.audit.verdict, memory(comparison), *comparison.left_out, _in_report(comparison)):
        if line:
            console.print(line)
    if again := remedy(comparison):
        lead = "To make it firm:"
        console.print(f"{lead} {again}" if again.startswith(CALLED) else shell_lines(lead, again), soft_wrap=True)
    for line in then:
        console.print(line, soft_wrap=True)


def _in_report(comparison: Comparison) -> str:
    """Say what only the report has: splits for which there is no room, and other doubts."""
    hidden = len(comparison.standing) - MOST_ROWS
    names = dict.fromkeys(doubt.name for doubt in left_to_say(comparison))
    parts = [counted(hidden, "more split")] if hidden > 0 else []
    return f"In the report: {', '.join([*parts, *names])}." if parts or names else ""


def show_leaders(comparisons: Sequence[Comparison], console: "Console") -> None:
    """Print which split of each comparison is the fastest, a row each."""
    console.print(leaders_table(comparisons))
