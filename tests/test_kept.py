"""Comparisons that are kept: gone on with if they are what is asked for, set aside if not, never lost."""

from dataclasses import replace
from pathlib import Path

import pytest
from comparisons import comparison, request
from strategies import MACHINE

from profiler.files import to_json, write_whole
from runtime.kept import kept


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.request.machine", lambda: MACHINE)


def test_nothing_is_kept_where_there_is_no_file(tmp_path: Path) -> None:
    assert kept(tmp_path / "comparison.json", request(), fresh=False, report=pytest.fail) is None


@pytest.mark.parametrize(("rounds", "asked", "complete"), [(3, 3, True), (3, 5, False), (3, 1, True)])
def test_the_same_question_goes_on_where_it_was(tmp_path: Path, rounds: int, asked: int, *, complete: bool) -> None:
    path = tmp_path / "comparison.json"
    found = comparison()
    assert found.rounds == rounds
    write_whole(path, to_json(found))
    said: list[str] = []
    again = kept(path, request(repeats=asked), fresh=False, report=said.append)
    assert again is not None
    assert again.runs == found.runs
    assert again.complete == complete
    assert again.repeats == max(asked, rounds)
    assert ("going on with" in said[0]) != complete
    assert path.exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"minibatches": 9}, "that one has minibatches 8, not 9"),
        ({"asked": ("optimized",)}, "that one has asked optimized, end-load, not optimized"),
        ({"baselines": True}, "that one has no baselines"),
        ({"cores": (2, 3)}, "that one has cores 0, 1, not 2, 3"),
        ({"distinct_splits": 10}, "distinct splits 0, not 10"),
    ],
)
def test_another_question_sets_the_answer_aside(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    path = tmp_path / "comparison.json"
    write_whole(path, to_json(comparison()))
    before = path.read_bytes()
    said: list[str] = []
    assert kept(path, request(**changes), fresh=False, report=said.append) is None
    assert reason in said[0]
    assert (tmp_path / "comparison.previous.json").read_bytes() == before
    assert not path.exists()


@pytest.mark.parametrize("content", [b"{", b'{"format_version": 2}', b"\xff"])
def test_a_file_of_another_format_is_set_aside_not_lost(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "comparison.json"
    path.write_bytes(content)
    said: list[str] = []
    assert kept(path, request(), fresh=False, report=said.append) is None
    assert (tmp_path / "comparison.previous.json").read_bytes() == content
    assert "is not a comparison" in said[0]


def test_measuring_anew_keeps_the_old(tmp_path: Path) -> None:
    path = tmp_path / "comparison.json"
    write_whole(path, to_json(comparison()))
    assert kept(path, request(), fresh=True, report=lambda _text: None) is None
    assert (tmp_path / "comparison.previous.json").exists()


def test_what_was_measured_elsewhere_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "comparison.json"
    write_whole(path, to_json(replace(comparison(), machine=replace(MACHINE, cpu="another"))))
    said: list[str] = []
    assert kept(path, request(), fresh=False, report=said.append) is None
    assert "cpu another there, test here" in said[0]
