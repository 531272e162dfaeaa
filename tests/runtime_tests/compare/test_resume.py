"""Comparisons that are kept: gone on with if they are what is asked for, moved aside if not, never lost."""

from dataclasses import replace
from pathlib import Path

import pytest
from comparisons import asked, comparison, request
from strategies import MACHINE

from profiler.files import to_json, write_whole
from runtime.compare import Comparison, Request, find_comparison, set_aside
from runtime.compare.resume import Resumable
from runtime.results import Clock


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.compare.resume.this_machine", lambda: MACHINE)


def look(path: Path, wanted: Request, *, clock: Clock = "wall", fresh: bool = False, digest: str = "") -> Resumable:
    before = path.read_bytes() if path.exists() else None
    found = find_comparison(path, wanted, clock, fresh=fresh, digest=lambda: digest)
    assert (path.read_bytes() if path.exists() else None) == before, "looking changes nothing"
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_whole(tmp_path / "comparison.json", to_json(comparison()))
    return tmp_path / "comparison.json"


def test_nothing_is_kept_where_there_is_no_file(tmp_path: Path) -> None:
    assert look(tmp_path / "comparison.json", request()) == Resumable(None, "")


@pytest.mark.parametrize(("asked", "complete"), [(3, True), (5, False), (1, True)])
def test_the_same_question_goes_on_where_it_was(path: Path, asked: int, *, complete: bool) -> None:
    again = look(path, request(repeats=asked)).comparison
    assert again is not None
    assert again.runs == comparison().runs
    assert again.complete == complete
    assert again.request.repeats == max(asked, 3)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"minibatches": 9}, "minibatches 8 there, 9 here"),
        ({"asked": ("optimized",)}, "asked optimized, end-load there, optimized here"),
        ({"cores": (2, 3)}, "cores 0, 1 there, 2, 3 here"),
    ],
)
def test_another_question_is_told_from_this_one(path: Path, changes: dict[str, object], reason: str) -> None:
    found = look(path, request(**changes))
    assert found.comparison is None
    assert reason in found.reason


@pytest.mark.parametrize("content", [b"{", b'{"format_version": 2}', b"\xff"])
def test_a_file_of_another_format_is_none(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    found = look(path, request())
    assert found.comparison is None
    assert "is not a comparison" in found.reason


def test_a_changed_model_another_clock_or_machine_and_measuring_anew_are_reasons(path: Path) -> None:
    assert look(path, request(), digest="other").reason == "the model has changed since"
    assert look(path, request(), fresh=True).reason == "--fresh"
    assert "clock wall there, virtual here" in look(path, request(), clock="virtual").reason
    write_whole(path, to_json(replace(comparison(), machine=replace(MACHINE, cpu="another"))))
    assert "cpu another there, test here" in look(path, request()).reason


def test_what_is_moved_aside_never_lands_on_what_was_moved_before(path: Path) -> None:
    first: Comparison = comparison()
    names = []
    for minibatches in (1, 2, 3):
        write_whole(path, to_json(asked(first, minibatches=minibatches)))
        names.append(set_aside(path))
        assert not path.exists()
    assert [one.name for one in names] == [
        "comparison.previous.json", "comparison.previous-2.json", "comparison.previous-3.json",
    ]  # fmt: skip
    assert [f'"minibatches": {number}' in one.read_text() for number, one in enumerate(names, 1)] == [True] * 3
