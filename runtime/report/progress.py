"""Show a comparison while it runs: a row for each contender that fills as runs end, and the time left; on stderr."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runtime.compare import ALONE_MINIBATCHES, Comparison, Step, steps
from runtime.report.findings import title

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = 5
"""So many of the last runs are shown."""


@contextmanager
def board(*, quiet: bool, later_s: float = 0.0) -> Iterator[Callable[[Comparison, Step | None], None]]:
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


def rows(comparison: Comparison, step: Step | None, now_s: float, later_s: float = 0.0) -> "Table":
    """Return the table: what was predicted of each contender, its runs so far, and what is running."""
    from rich import box
    from rich.table import Table

    left_s = left(comparison) + later_s
    clock = time.strftime("%H:%M", time.localtime(now_s + left_s))
    done = f"round {min(comparison.rounds + 1, comparison.repeats)} of {comparison.repeats}"
    table = Table(title=f"{title(comparison)}: {done}, about {duration(left_s)} left, until {clock}", box=box.SIMPLE)
    for name in ("", "predicted", "samples/s, run by run", "median"):
        table.add_column(name, justify="right" if name in ("predicted", "median") else "left")
    predicted = {part.name: part.predicted_throughput_samples_per_s for part in comparison.partitions}
    spreads = {part.name: part.throughput_samples_per_s for part in comparison.partitions}
    spreads |= {one.row: one.throughput_samples_per_s for one in comparison.baselines}
    for name in comparison.contenders:
        runs = [run for run in comparison.runs if run.name == name and run.series == "main"]
        shown = "  ".join("failed" if run.failure else f"{run.throughput_samples_per_s:.1f}" for run in runs[-SHOWN:])
        running = step is not None and step.name == name
        waits = " alone …" if running and step is not None and step.series == "alone" else " …" if running else ""
        spread = spreads[name]
        table.add_row(
            name,
            f"{predicted[name]:.1f}" if name in predicted else "",
            f"{shown}{waits}",
            f"{spread.median:.1f}" if spread else "",
            style="bold" if running else "",
        )
    return table


def left(comparison: Comparison) -> float:
    """Return about how many seconds the missing runs will take, by those that have run or by what is predicted."""
    known: dict[tuple[bool, str], list[float]] = {}
    for run in comparison.runs:
        known.setdefault((run.series == "alone", run.name), []).append(run.seconds)
    seconds = 0.0
    for step in steps(comparison):
        own = known.get((step.series == "alone", step.name))
        seconds += sum(own) / len(own) if own else expected_s(comparison, step)
    return seconds


HAND_OVER_S = 0.7
"""Roughly what handing a model over takes."""
BASELINE_S = 8.0
"""Roughly what starting a baseline takes."""


def expected_s(comparison: Comparison, step: Step) -> float:
    """Return about how long a run takes, going by the predictions."""
    plans = {part.name: part.plan for part in comparison.partitions}
    plan = plans.get(step.name, next(iter(plans.values())))
    step_s = sum(stage.total_s for stage in plan.stages)
    cores = len(set(comparison.cores))
    warm_up_s = step_s * (len(plan.stages) + 1) / cores
    if step.name not in plans:
        return BASELINE_S + (comparison.minibatches + 2) * step_s / cores
    if step.series == "alone":
        return HAND_OVER_S + step_s * min(ALONE_MINIBATCHES, comparison.minibatches) + warm_up_s
    work_s = step_s * comparison.minibatches / cores
    return HAND_OVER_S + max(work_s, plan.predicted.makespan_s) + warm_up_s


def duration(seconds: float) -> str:
    """Return a time in words: ``40 s``, ``3 min``, ``1 h 20 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
