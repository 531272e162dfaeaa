"""Show what the stages are doing while they run, one row each, on stderr if that is a terminal."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from profiler.cli import live_console
from profiler.report import ResultTable
from runtime.supervisor import Watch
from runtime.worker import Phase, Progress

_BAR = 24


@contextmanager
def live_view(cores: Sequence[int]) -> Iterator[Watch | None]:
    """Yield what has to be called with the progress of all stages, or None where nothing is shown."""
    from rich.live import Live

    console = live_console()
    if console is None:
        yield None
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield lambda progress: live.update(rows(progress, cores, time.perf_counter()))


def rows(progress: Sequence[Progress], cores: Sequence[int], now_s: float) -> ResultTable:
    """Return the table: how far each stage is, what it is doing, and for how long."""
    columns = ("stage", "core", "done", "", "doing", "for s", "busy s")
    table = ResultTable("", columns, words=columns)
    for stage, (state, core) in enumerate(zip(progress, cores, strict=True)):
        full = round(_BAR * state.done / state.total) if state.total else 0
        style = "dim" if state.phase == Phase.WAITING else ""
        table.add_row(
            str(stage), str(core), f"{state.done}/{state.total}", "█" * full + "·" * (_BAR - full), state.doing,
            f"{max(0.0, now_s - state.since_s):.1f}", f"{state.busy_s:.1f}", style=style,
        )  # fmt: skip
    return table
