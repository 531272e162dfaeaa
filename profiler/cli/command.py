"""Run a command with what was typed, and say what goes wrong in one sentence."""

import argparse
import codecs
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO

from profiler.cli.console import Screen, on_screen
from profiler.cli.declare import OptionsT, parsed
from profiler.errors import StageplanError, one_line, printable
from profiler.machine import ending_in_order

SIGNALLED = 128
"""What is added to the number of the signal that has ended a command, for its exit code: 130 after Ctrl-C."""


def _plainer(error: UnicodeError) -> tuple[str, int]:
    """Put signs that every encoding has, each as wide, in the place of those that this one lacks."""
    assert isinstance(error, UnicodeEncodeError)
    return "".join(_PLAIN.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


_PLAINER = "stageplan.plainer"
_PLAIN = dict(zip("×±–—−…›÷·→↓↑◀≤≥⁹█•◇─│", "x~---~>/.>v^<<>9#*o-|", strict=True))
codecs.register_error(_PLAINER, _plainer)


def execute(namespace: argparse.Namespace, kind: type[OptionsT], run: Callable[[OptionsT], int]) -> int:
    """Call ``run`` with what was parsed, as options of type ``kind``, and return the exit code.

    An expected error is printed as one sentence. A process that was told to end ignores further signals, for good.
    """
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_PLAINER)  # a table has signs that not every encoding knows
    options = parsed(namespace, kind)
    try:
        with (
            ending_in_order(),
            redirect_stdout(_Stdout(sys.stdout)),
            on_screen(Screen(quiet=options.quiet)),
        ):
            code = run(options)
            sys.stdout.flush()
    except StageplanError as error:
        if options.debug:
            traceback.print_exc()
        sys.stderr.write(f"error: {printable(str(error))}\n")
        for added in getattr(error, "__notes__", ()):
            sys.stderr.write(f"note: {printable(added)}\n")
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        number = next((own for own in interrupt.args if isinstance(own, int)), signal.SIGINT)
        said = next(iter(getattr(interrupt, "__notes__", ())), "interrupted; nothing is left running")
        sys.stderr.write(f"{printable(said)}\n")
        return SIGNALLED + number
    except (_UnwrittenError, OSError) as error:
        return _ended(error, debug=options.debug)
    return code


def _open_standard_streams() -> None:
    """Give standard streams that are closed a place to go, before a file or a socket takes their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            lowest = os.open(os.devnull, os.O_RDWR)  # which is this number
            os.set_inheritable(lowest, True)  # noqa: FBT003
        if getattr(sys, name) is None:
            stream = open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def _ended(error: "_UnwrittenError | OSError", *, debug: bool) -> int:
    """Say why the system ended a command, and return the exit code."""
    if isinstance(error, _UnwrittenError):
        # Nobody takes our output any more; Python would complain once more when it flushes stdout.
        sys.stdout = None
        if not isinstance(error.cause, BrokenPipeError):
            sys.stderr.write(f"error: the output cannot be written: {error.cause.strerror}; give it another place\n")
        return 1
    if debug:
        traceback.print_exc()
    said = f"{type(error).__name__}: {one_line(error)}"
    sys.stderr.write(f"error: the command was ended by {said}; add --debug to see where it came from\n")
    return 1


class _UnwrittenError(Exception):
    """What was printed could not be written, for ``cause``."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _Stdout:
    """Standard output, whose failures are told from those of all other files and of sockets."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write ``text``."""
        with _telling():
            return self._stream.write(text)

    def flush(self) -> None:
        """Hand on what was written."""
        with _telling():
            self._stream.flush()


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _UnwrittenError(error) from error
