"""Commands in messages bear the names that their reader typed, and are quoted for a shell."""

import shlex
from pathlib import Path

from profiler.commands import MODULES, again, command, typed_as


def test_a_shell_reads_a_command_as_it_was_meant() -> None:
    said = command(
        "profile", model="a:b", sample_shape=(16, 32), vocabulary=0, config=Path("my own's.yaml"), quick=None
    )
    assert shlex.split(said)[2:] == ["--model", "a:b", "--sample-shape", "16,32", "--config", "my own's.yaml"]


def test_a_model_that_was_in_memory_is_named_by_no_command() -> None:
    with typed_as(MODULES):
        assert again("profile", ()) == "stageplan.profile"
        assert again("profile", ("--model", "a:b")) == "python -m profiler --model a:b"
