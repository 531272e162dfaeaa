"""A command that the system ends says what ended it."""

import argparse
import errno
import subprocess
import sys

import pytest

from profiler.cli.command import execute
from profiler.cli.declare import Options


def refused(_options: Options) -> int:
    raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


def prints(_options: Options) -> int:
    sys.stdout.write("much\n" * 10_000)
    return 0


class Full:
    """A stream to a full disk."""

    encoding = "utf-8"

    def __init__(self, number: int) -> None:
        self._number = number

    def write(self, _text: str) -> int:
        raise OSError(self._number, "such is life")

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


def test_a_failure_says_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(argparse.Namespace(), Options, refused) == 1
    assert capsys.readouterr().err == (
        "error: the command was ended by ConnectionRefusedError: [Errno 111] Connection refused; add --debug to see "
        "where it came from\n"
    )


@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, "[Errno 28] such is life"), (errno.EPIPE, "")])
def test_output_that_cannot_be_written_is_told_unless_its_reader_has_gone(
    number: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", Full(number))
    assert execute(argparse.Namespace(), Options, prints) == 1
    told = capsys.readouterr().err
    assert said in told if said else not told


PRINTS = """
import argparse, os, sys
from profiler.cli.command import execute
from profiler.cli.declare import Options
def run(options):
    print("told"); sys.stderr.write("warned\\n")
    taken = os.open(os.devnull, os.O_RDONLY)
    return 40 + taken
sys.exit(execute(argparse.Namespace(), Options, run))
"""


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "1>&- 2>&-"])
def test_closed_standard_streams_are_opened_before_a_file_takes_their_numbers(closed: str) -> None:
    ran = subprocess.run(["/bin/sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, PRINTS], check=False)
    assert ran.returncode == 43
