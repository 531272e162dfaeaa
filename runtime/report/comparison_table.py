"""Show a comparison on one screen, or several in a row each; and how figures are written, there and in the report."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from profiler.profile import FP32
from profiler.report import ResultTable, counted
from runtime.compare import (
    ONE_CORE,
    Comparison,
    Contender,
    Spread,
    coverage,
)
from runtime.report.findings import answer, called, insight, memory, samples_per_s, title, worth
from runtime.report.warnings import COVERAGE_WANTED, FIRM, REMEDY, firmness, left_to_say, mark

if TYPE_CHECKING:
    from rich.console import Console


MOST_ROWS = 7
"""Splits that a screen has room for; the report has all."""
KEPT = {True: "yes", False: "no", None: "–"}
RANKS = "Rank: by × as fast; = marks what noise cannot tell apart, – what noise or a single round leaves open."


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
    console.print(_table(comparison))
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


def _table(comparison: Comparison) -> ResultTable:
    """Return the splits, fastest first, and below them what one would run instead."""
    from rich.text import Text

    splits = comparison.standing[:MOST_ROWS]
    ratio = next((ratio for part in splits if (ratio := comparison.ratio(part.name))), None)
    runs = len(ratio.runs) if ratio else comparison.rounds
    spread = f"{min(COVERAGE_WANTED, coverage(runs)):.0%} range" if runs > 1 else "range"
    speed = f"samples/s{mark(comparison)}"
    columns = ("rank", "split", speed, spread, "predicted")
    table = ResultTable("", columns, words=("split",), first_out=("rank", spread), compact=True)
    last, out = comparison.rounds, comparison.dropped
    for part in splits:
        dropped = out.get(part.name, last)
        table.add_row(
            rank_of(part, comparison),
            called(comparison, part),
            Text(speed_of(part), style="bold"),
            interval_of(part.throughput_samples_per_s) if dropped >= last else f"dropped after {dropped}",
            f"{part.predicted_throughput_samples_per_s:.1f}",
        )
    precision = comparison.whole_precision
    alone = ONE_CORE if precision == FP32 else f"{ONE_CORE}, {precision}"
    beside = {alone: comparison.one_core}
    ratios = {own.name: ratio.median for own in comparison.baselines if (ratio := comparison.ratio(own.name))}
    if ratios:
        fastest = min(ratios, key=ratios.__getitem__)
        beside[fastest] = comparison.contender(fastest)
    for name, own in beside.items():
        table.add_row("", name, speed_of(own), interval_of(own.throughput_samples_per_s))
    return table


def show_leaders(comparisons: Sequence[Comparison], console: "Console", heading: str = "") -> None:
    """Print which split of each comparison is the fastest, a row each."""
    table = ResultTable(
        heading,
        ("", "fastest", "samples/s", "predicted", "× the next", "× one core", "firm"),
        words=("", "fastest"),
        first_out=("predicted", "samples/s"),
    )
    for comparison in comparisons:
        ran = comparison.came_through
        others = (ran[1].name if len(ran) > 1 else None, ONE_CORE)
        ratios = [comparison.between(ran[0].name, other) if ran and other else None for other in others]
        table.add_row(
            title(comparison),
            called(comparison, ran[0]) if ran else "none came through",
            f"{samples_per_s(ran[0]):.1f}" if ran else "",
            f"{ran[0].predicted_throughput_samples_per_s:.1f}" if ran else "",
            *(f"{ratio.median:.2f}" if ratio else "" for ratio in ratios),
            "yes" if firmness(comparison) == FIRM else "no",
        )
    console.print(table)


def rank_of(part: Contender, comparison: Comparison) -> str:
    """Return a partition's rank as ``2`` or, where others share it, ``2=``."""
    rank = comparison.rank(part.name)
    if rank is None:
        return "–"
    sharing_it = [other for other in comparison.standing if comparison.rank(other.name) == rank]
    return f"{rank}=" if len(sharing_it) > 1 else str(rank)


def makespan_of(part: Contender, comparison: Comparison) -> str:
    """Return the median makespan where all runs are of as many minibatches."""
    if not comparison.request.minibatches:
        return "–"
    return f"{part.makespan_s.median:.2f}" if part.makespan_s else ""


def least_of(part: Contender, comparison: Comparison) -> str:
    """Return in brackets what is left at worst with a core for every stage, where they took turns on fewer."""
    crowded = part.plan.crowded(comparison.core_count) if comparison.clock == "virtual" else None
    speed = part.throughput_samples_per_s
    return f" ({speed.median / crowded:.1f})" if crowded and speed else ""


def speed_of(contender: Contender) -> str:
    """Return the median throughput, or why there is none."""
    spread = contender.throughput_samples_per_s
    return f"{spread.median:.1f}" if spread else "failed" if contender.failures else "not run"


def interval_of(spread: Spread | None) -> str:
    """Return an interval as ``9.4 – 9.9``."""
    if spread is None:
        return ""
    return f"{spread.low:.1f} – {spread.high:.1f}" if len(spread.runs) > 1 else "one run"


def ratio_of(ratio: Spread | None) -> str:
    """Return a ratio as ``1.31 (1.29 – 1.33)``."""
    if ratio is None:
        return ""
    return f"{ratio.median:.2f}" + (f" ({ratio.low:.2f} – {ratio.high:.2f})" if len(ratio.runs) > 1 else "")
