"""``--help`` of every command: every option, and commands that can be typed."""

import re
import shlex
from typing import Any, get_type_hints

import pytest

from optimizer.cli.planning_options import PlanOptions
from profiler.cli.declare import Declared
from profiler.cli.main import ProfileOptions
from runtime.cli.main import COMMANDS
from runtime.cli.stageplan import HELP, main

OPTIONS: dict[str, type[Any]] = {
    "profile": ProfileOptions, "plan": PlanOptions,
    **{name: own.options for name, own in COMMANDS.items()},
}  # fmt: skip


def help_of(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def flags(name: str) -> list[str]:
    hints = get_type_hints(OPTIONS[name], include_extras=True)
    declared = {
        field: each for field, hint in hints.items() for each in getattr(hint, "__metadata__", ()) if
        isinstance(each, Declared) and not each.by_place
    }  # fmt: skip
    return [flag for field, each in declared.items() for flag in each.words or (f"--{field.replace('_', '-')}",)]


@pytest.mark.parametrize("name", OPTIONS)
def test_help_names_every_option_and_examples_that_can_be_typed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = help_of(name, capsys)
    assert shown.startswith(f"usage: stageplan {name} ")
    for flag in flags(name):
        assert re.search(rf"^  (?:-o PATH, |-o FILE, )?{flag}(?![\w-])", shown, re.MULTILINE), flag
    examples = re.findall(r"^example: (.*)", shown, re.MULTILINE)
    assert examples
    for example in examples:
        words = shlex.split(example)
        assert words[:2] == ["stageplan", name]
        unknown = [word for word in words if word.startswith("-") and word not in flags(name)]
        assert not unknown


def test_the_learning_rate_is_found_by_who_looks_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert re.search(r"of a --config FILE only: .*\blr\b", help_of("train", capsys), re.DOTALL)


def test_a_command_that_is_typed_wrong_is_named_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profle"]) == 2
    assert capsys.readouterr().err == (
        "error: there is no command 'profle' (did you mean 'profile'?); see stageplan --help\n"
    )
    assert main([]) == 0
    assert capsys.readouterr().out == HELP


def test_every_command_is_listed() -> None:
    listed = [line.split()[0] for line in HELP.splitlines() if line.startswith("  ")]
    assert sorted(listed) == sorted(OPTIONS)
