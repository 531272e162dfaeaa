"""Functions that run in a process of their own: what they return, how they fail, and that none is left behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from profiler.errors import ConfigError, ProcessError
from profiler.machine import call_in_process


def double(number: int) -> int:
    os.write(1, b"this is no answer")
    return 2 * number


def refuse() -> None:
    raise ConfigError("a sentence")


def fail() -> None:
    raise ValueError("first line\nsecond line")


def vanish() -> None:
    os._exit(7)


def number() -> int:
    return os.getpid()


def dream(told: str) -> None:
    Path(told).write_text(str(os.getpid()))
    time.sleep(600)


def test_what_it_returns_arrives_and_what_it_prints_does_not(capfd: pytest.CaptureFixture[str]) -> None:
    assert call_in_process(double, 21) == 42
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("function", "kind", "words"),
    [
        (refuse, ConfigError, "a sentence"),
        (fail, ProcessError, "ValueError: first line"),
        (vanish, ProcessError, "exit code 7"),
    ],
)
def test_what_goes_wrong_in_it_is_told_in_a_sentence(function: object, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words) as raised:
        call_in_process(function)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


def test_it_ends_with_its_parent_even_if_that_is_killed(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from profiler.machine import call_in_process; from test_processes import dream\n"
        f"call_in_process(dream, {str(told)!r})"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        while not (told.exists() and told.read_text()):
            assert parent.poll() is None
            time.sleep(0.01)
        dreamer = psutil.Process(int(told.read_text()))
        parent.kill()
        dreamer.wait(10)


def test_it_is_gone_once_it_has_answered() -> None:
    assert not psutil.pid_exists(call_in_process(number))
