"""What an error says is one sentence that cannot steer a terminal, wherever its words come from."""

import json
from pathlib import Path

import pytest
from commands import OPTIMIZE

from profiler.errors import one_line, printable, suggest

RED = "\x1b[31mred\x1b[0m"


@pytest.mark.parametrize(
    ("said", "line"),
    [("", "ValueError"), ("\x1b", "ValueError"), (f" {RED}\nsecond", "[31mred [0m"), ("a\x9bb", "a b"), ("×", "×")],
)
def test_an_exception_is_one_line_of_signs_that_can_be_printed(said: str, line: str) -> None:
    assert one_line(ValueError(said)) == line


def test_lines_stay_lines() -> None:
    assert printable("one\ntwo\r\x1b") == "one\ntwo  "


FLAGS = ["--model", "--batch-size", "--fresh", "--quiet", "--stages", "--precision", "--plan", "--epochs", "-o"]


@pytest.mark.parametrize(
    ("word", "names", "near"),
    [
        ("--modle", FLAGS, "--model"),
        ("--batchsize", FLAGS, "--batch-size"),
        ("--Model", FLAGS, "--model"),
        ("reznet50", ["alexnet", "resnet18", "resnet50"], "resnet50"),
        ("--resume", FLAGS, None),
        ("--depth", FLAGS, None),
        ("gpt2", ["alexnet", "resnet50"], None),
        ("--", FLAGS, None),
    ],
)
def test_a_name_is_offered_only_where_it_is_near(word: str, names: list[str], near: str | None) -> None:
    assert suggest(word, names) == (f" (did you mean '{near}'?)" if near else "")


@pytest.mark.parametrize("value", [{"format_version": RED}, {"schedule": RED}, {RED: 1}])
def test_what_a_file_holds_does_not_reach_the_terminal_raw(
    value: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.json"
    text = json.dumps({"lower_bound_s": "a"} | value)
    path.write_text(text[:-1] + ", " + text[1:])  # each key twice
    assert OPTIMIZE(["--profile", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "\x1b" not in said
