"""Run a command with what was typed, and say what goes wrong in one sentence."""

import argparse
import codecs
import io
import signal
import sys
import traceback
from collections.abc import Callable

from profiler.cli.console import Screen, on_screen
from profiler.cli.declare import OptionsT, parsed
from profiler.errors import StageplanError, printable
from profiler.machine import ending_in_order

SIGNALLED = 128
"""What a command exits with that a signal has ended, less the number of the signal: 130 after Ctrl-C."""


def _plainer(error: UnicodeError) -> tuple[str, int]:
    """Put signs that every encoding has, each as wide, in the place of those that this one lacks."""
    assert isinstance(error, UnicodeEncodeError)
    return "".join(_PLAIN.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


_PLAINER = "stageplan.plainer"
_PLAIN = dict(zip("×±–—−…›÷·→↓↑◀≤≥⁹█•◇─│", "x~---~>/.>v^<<>9#*o-|", strict=True))
codecs.register_error(_PLAINER, _plainer)


def execute(namespace: argparse.Namespace, kind: type[OptionsT], run: Callable[[OptionsT], int]) -> int:
    """Call ``run`` with what was parsed, as options of type ``kind``, and return the exit code.

    An expected error is printed as one sentence.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_PLAINER)  # a table has signs that not every encoding knows
    options = parsed(namespace, kind)
    try:
        with ending_in_order(), on_screen(Screen(quiet=options.quiet, wide=options.wide)):
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
        # Nobody takes our output any more; Python would complain once more when it flushes stdout.
        sys.stdout = None
        if not isinstance(error, BrokenPipeError):
            sys.stderr.write(f"error: the output cannot be written: {error.strerror}; give it another place\n")
        return 1
    return code
