"""Processes that help to measure: what they return, how they fail, and that none is left behind."""

import os
import sys
import time
from multiprocessing.connection import Connection

import psutil
import pytest

from profiler.errors import ConfigError, ProcessError
from profiler.machine import helper


def double(connection: Connection, number: int) -> int:
    connection.send("half way")
    return 2 * number


def origin(_connection: Connection) -> tuple[int, bool, str]:
    """The process that this one was made by; whether torch was there at once; and a variable."""
    return os.getppid(), "torch" in sys.modules, os.environ.get("SOME_SETTING", "")


def refuse(_connection: Connection) -> None:
    raise ConfigError("a sentence")


def fail(_connection: Connection) -> None:
    raise ValueError("first line\nsecond line")


def vanish(_connection: Connection) -> None:
    os._exit(7)


def dream(connection: Connection) -> None:
    connection.send(os.getpid())
    time.sleep(600)


@pytest.mark.parametrize(
    ("function", "kind", "words"),
    [
        (refuse, ConfigError, "a sentence"),
        (fail, ProcessError, "ValueError: first line"),
        (vanish, ProcessError, "exit"),
    ],
)
def test_what_goes_wrong_in_it_is_told_in_a_sentence(function: object, kind: type[Exception], words: str) -> None:
    with helper(function) as process, pytest.raises(kind, match=words) as raised:  # type: ignore[arg-type]
        process.receive()
    assert "\n" not in str(raised.value)


def test_it_ends_with_the_context_whatever_it_does() -> None:
    with helper(dream) as process:
        number = process.receive()
        assert psutil.pid_exists(number)
    assert not psutil.pid_exists(number)
