"""Every command's main table in 80 columns, and without UTF-8."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from places import CHECKOUT, TESTS
from rich.cells import cell_len
from rich.console import Console
from screens import FOLDER, SCREENS, WIDTH, plans, screen

from optimizer.report import show_plan
from profiler.cli import stdout


@pytest.mark.parametrize("name", SCREENS)
def test_a_table_in_80_columns_is_as_it_was_kept(name: str) -> None:
    found = screen(name)
    lines = [line for line in found.splitlines() if line]
    assert max(map(cell_len, lines)) <= WIDTH
    assert len(found.splitlines()) <= 25, "an answer is one screen"
    assert len(set(lines)) == len(lines), "and says nothing twice"
    assert found == (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


def test_names_of_200_characters_fold() -> None:
    planner, found = plans()
    best = found["optimized"]
    long = [replace(stage, layers=tuple(f"{'block.' * 33}{name}" for name in stage.layers)) for stage in best.stages]
    console = Console(file=None, width=WIDTH, record=True, highlight=False, markup=False)
    with console.capture() as printed:
        show_plan(replace(best, stages=tuple(long)), console, planner.profile)
    assert max(map(cell_len, printed.get().splitlines())) <= WIDTH
    assert f"{best.stages[0].total_s * 1e3:.1f}" in printed.get()


@pytest.mark.parametrize(("columns", "width"), [("60", WIDTH), ("80", 80), ("100", 100)])
def test_the_console_is_as_wide_as_the_terminal_and_holds_every_table(
    columns: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert stdout().width == width


def test_a_dumb_terminal_without_utf_8_gets_lines_of_the_same_width() -> None:
    plan = TESTS / "data" / "pipedream-vgg16.json"
    arguments = ["--profile", str(plan), "--any-machine", "--all"]
    found = {
        encoding: subprocess.run(
            [sys.executable, "-m", "optimizer", *arguments],
            env=os.environ | {"PYTHONIOENCODING": encoding, "TERM": "dumb", "COLUMNS": "80"},
            cwd=CHECKOUT, capture_output=True, check=True,
        ).stdout.decode(encoding)
        for encoding in ("ascii", "utf-8")
    }  # fmt: skip
    plain, full = (found[encoding].splitlines() for encoding in ("ascii", "utf-8"))
    assert [len(line) for line in plain] == [len(line) for line in full]
    assert "\x1b" not in found["utf-8"]
    assert max(map(len, full)) <= WIDTH
