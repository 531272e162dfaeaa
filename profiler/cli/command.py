"""Run a command with what was typed, and say what goes wrong in one sentence."""

import argparse
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable

from profiler.cli.console import keeping_quiet
from profiler.cli.declare import OptionsT, parsed
from profiler.errors import StageplanError, one_line, printable
from profiler.machine import ending_in_order

SIGNALLED = 128
"""What is added to the number of the signal that has ended a command, for its exit code: 130 after Ctrl-C."""


def execute(namespace: argparse.Namespace, kind: type[OptionsT], run: Callable[[OptionsT], int]) -> int:
    """Call ``run`` with what was parsed, as options of type ``kind``, and return the exit code.

    An expected error is printed as one sentence. A process that was told to end ignores further signals, for good.
    """
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a table has signs that not every encoding knows
    options = parsed(namespace, kind)
    try:
        with ending_in_order(), keeping_quiet(options.quiet):
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
    except OSError as error:
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


def _ended(error: OSError, *, debug: bool) -> int:
    """Say why the system ended a command, unless nobody takes its output any more, and return the exit code."""
    if debug:
        traceback.print_exc()
    if not isinstance(error, BrokenPipeError):
        said = f"{type(error).__name__}: {one_line(error)}"
        sys.stderr.write(f"error: the command was ended by {said}; add --debug to see where it came from\n")
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = None  # which Python would flush once more
    return 1
