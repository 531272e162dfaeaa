"""What a profile says of itself: its doubts, and its rows as a table."""

import io
from dataclasses import replace

import pytest
from rich.console import Console
from strategies import chain, layer, profile

from profiler.commands import MODULES, typed_as
from profiler.profile import INPUT, Profile, profile_warnings
from profiler.report import show_profile
from profiler.rounds import foreign_load


def three() -> Profile:
    layers = [layer("a", (1, 2, 3)), layer("b|c", (10, 20, 30)), layer("d", (4, 5, 6))]
    return profile(layers, [(INPUT, "a"), ("a", "b|c"), ("b|c", "d")])


def test_a_good_profile_has_no_doubts() -> None:
    assert profile_warnings(chain([1, 2])) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"closure_error": -0.2}, "a changing clock or other work"),
        ({"foreign_load": 0.25}, "worked for others in 25%"),
        ({"uncertainty": 0.3}, "after 9 rounds, what a stage takes is known to ±30% only"),
        ({"regret": 0.07}, "Another split may be up to 7% faster"),
        ({"uncertainty": 0.3}, "cannot be told apart on so loud a machine"),
    ],
)
def test_each_doubt_names_its_figure_and_a_remedy(change: dict[str, float], words: str) -> None:
    with typed_as(MODULES):
        text = " ".join(profile_warnings(replace(chain([1, 2]), **change)))  # type: ignore[arg-type]
    assert words in text
    assert any(remedy in text for remedy in ("profile again", "--cores", "--budget", "end what else", "leave that out"))


def test_foreign_load_is_what_the_core_did_for_others() -> None:
    assert foreign_load([2.0, 2.0], [1.0, 2.0]) == 0.25
    assert foreign_load([1.0], [1.5]) == 0.0


def printed(found: Profile, top: int | None = 10) -> str:
    console = Console(file=io.StringIO(), width=200, highlight=False, markup=False)
    show_profile(found, console, top)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def rows(shown: str) -> dict[str, list[str]]:
    """The cells of each row, by its first."""
    lines = [line.removeprefix(" 3 ").removeprefix(" 4 ").split() for line in shown.splitlines()]
    return {line[0]: line[1:] for line in lines if line and line[0] in {"a", "b|c", "d", "e", "loss", "layers"}}


def test_rows_are_in_captured_order_or_the_costliest_first() -> None:
    assert list(rows(printed(three(), None))) == ["a", "b|c", "d", "loss", "layers"]
    assert list(rows(printed(three()))) == ["b|c", "d", "a"]
    assert list(rows(printed(three(), 1))) == ["b|c"]
    assert "Shown: the top 1 of 3 layers" in printed(three(), 1)
    assert "--all" not in printed(three()), "which has them all"


def test_a_row_holds_what_a_layer_takes_hands_on_and_keeps() -> None:
    held = replace(layer("e", (1, 2, 3)), output_bytes=3 << 20, saved_bytes=5 << 19)
    shown = rows(printed(replace(three(), layers=(*three().layers, held)), None))
    assert shown["b|c"][:4] == ["10.0", "20.0", "30.0", f"{60 / 87.2:.1%}"]
    assert shown["e"][-2:] == ["3.00", "2.50"]
    assert shown["layers"][2:4] == ["42.0", "100.0%"]


def test_what_layers_hold_is_said_beside_the_peak() -> None:
    assert "a whole step took 1048576.00 MiB at most." in printed(replace(three(), peak_memory_bytes=1 << 40))
