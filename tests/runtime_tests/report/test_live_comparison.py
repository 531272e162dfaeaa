"""The table that fills while a comparison runs."""

import io
import time

import pytest
from comparisons import asked, comparison, with_runs
from rich.console import Console

from runtime.compare import Awaited, Step, duration, left, steps
from runtime.report import live_progress, show_leaders
from runtime.report.screen import rows


def shown(table: object) -> str:
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(table)
    text = console.export_text()
    console.file.close()
    return text


def test_the_table_shows_runs_as_they_end_and_what_is_running() -> None:
    found = comparison({"optimized": (20.0, 40.0), "end-load": (None, 15.0)}, baselines=[(5.0, 6.0)])
    found = asked(found, repeats=4)
    text = shown(rows(found, Step(3, "end-load"), 0.0, Awaited()))
    assert "round 3 of 4" in text
    ours, theirs, baseline = (
        next(line for line in text.splitlines() if line.strip().startswith(name))
        for name in ("optimized", "end-load", "one process, 2 threads, tuned")
    )
    assert "20.0  40.0" in ours
    assert "30.0" in ours
    assert "failed  15.0 …" in theirs
    assert "5.0  6.0" in baseline


def test_it_says_when_the_first_answer_comes_and_when_the_last() -> None:
    found = comparison(cores=(0, 0), repeats=5)
    text = shown(rows(found, None, -time.localtime(0).tm_gmtoff, Awaited(first_s=60.0, last_s=120.0)))
    assert "first answer 00:01, about 2 min left, until 00:02" in " ".join(text.split())
    assert "first answer" not in shown(rows(found, None, 0.0, Awaited()))


def test_the_time_left_is_that_of_the_runs_so_far() -> None:
    found = comparison(cores=(0, 0), repeats=5)
    assert len(list(steps(found))) == 4
    assert left(found) == pytest.approx(4.0), "each of those that ran took a second"
    assert left(with_runs(found, ())) > 0, "before the first, predictions say how long"
    assert left(asked(found, repeats=3)) == 0


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (40, "40 s"), (200, "3 min"), (4800, "80 min"), (9000, "2 h 30 min")]
)
def test_a_time_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_nothing_is_shown_where_nobody_looks() -> None:
    with live_progress(Awaited()) as watch:
        watch(comparison(), None)


def test_leaders_stand_in_a_row_each_also_where_one_split_ran_or_none() -> None:
    console = Console(file=io.StringIO(), width=200)
    failed = comparison({"optimized": (None,), "end-load": (None,)})
    show_leaders([comparison(), comparison({"optimized": (20.0, 21.0)}), failed], console)
    assert isinstance(console.file, io.StringIO)
    two, one, none = [line for line in console.file.getvalue().splitlines() if line.strip().startswith("test, batch")]
    assert "30.0" in two
    assert "2.50" in two, "times as fast as the next"
    assert "20.5" in one
    assert "none came through" in none
