"""Commands in messages bear the names that their reader typed, and are quoted for a shell."""

import shlex
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from profiler.commands import MODULES, ONE_NAME, again, command, maker, typed_as
from profiler.errors import FileError
from profiler.files import from_json
from profiler.machine import helper
from profiler.profile import Profile


def test_a_shell_reads_a_command_as_it_was_meant() -> None:
    said = command(
        "profile", model="a:b", sample_shape=(16, 32), vocabulary=0, config=Path("my own's.yaml"), quick=None
    )
    assert shlex.split(said)[2:] == ["--model", "a:b", "--sample-shape", "16,32", "--config", "my own's.yaml"]


def test_from_python_functions_are_named_instead_of_commands() -> None:
    assert maker("plan", o="plan.json") == "stageplan.plan"
    assert maker("links") == "stageplan links", "which is a command only"
    assert again("profile", ()) == "stageplan.profile"
    with pytest.raises(FileError, match=r"make it anew with stageplan\.profile$"):
        from_json(b"{", Profile, "p.json")
    with typed_as(MODULES):
        assert again("profile", ()) == "stageplan.profile", "no command names a model that was in memory"
        assert again("profile", ("--model", "a:b")) == "python -m profiler --model a:b"
        with pytest.raises(FileError, match=r"make it anew with python -m profiler$"):
            from_json(b"{", Profile, "p.json")


def _said(_connection: Connection) -> str:
    return command("profile")


@pytest.mark.parametrize("form", [MODULES, ONE_NAME])
def test_a_process_that_helps_names_commands_as_its_parent_does(form: str) -> None:
    with typed_as(form), helper(_said) as process:
        assert process.receive() == command("profile")
