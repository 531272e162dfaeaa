"""What the three commands share: options, exit codes, errors as one sentence, results on stdout, progress on stderr."""

import argparse
import io
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from profiler.cli.console import note, progress
from profiler.errors import ConfigError, StageplanError
from profiler.profile import Profile
from profiler.settings import Config, config, load_all

INTERRUPTED = 130
STAGES = 4


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one sentence."""

    def error(self, message: str) -> NoReturn:
        """Print the complaint and exit with 2."""
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def execute(parser: Parser, run: Callable[[argparse.Namespace], int], argv: list[str] | None) -> int:
    """Parse ``argv``, call ``run`` and return the exit code; an expected error is printed as one sentence."""
    options = parser.parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a table has signs that not every encoding knows
    try:
        with _one_ctrl_c():
            code = run(options)
            sys.stdout.flush()
    except StageplanError as error:
        if options.debug:
            traceback.print_exc()
        sys.stderr.write(f"error: {error}\n")
        for added in getattr(error, "__notes__", ()):
            sys.stderr.write(f"note: {added}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted; nothing is left running\n")
        return INTERRUPTED
    except OSError as error:
        # Nobody takes our output any more; Python would complain once more when it flushes stdout.
        sys.stdout = None
        if not isinstance(error, BrokenPipeError):
            sys.stderr.write(f"error: the output cannot be written: {error.strerror}; give it another place\n")
        return 1
    return code


@contextmanager
def _one_ctrl_c() -> Iterator[None]:
    """Take the first Ctrl-C; while what was started is ended, and after that, another one has nothing to do."""

    def interrupt(number: int, _frame: object) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield  # as a job in the background, or as somebody's thread: not ours to handle
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, before)


def add_common(parser: Parser) -> None:
    """Add the options that every command has."""
    parser.add_argument("--batch-size", type=positive, metavar="N", help="samples per minibatch")
    parser.add_argument("--image-size", type=positive, metavar="N", help="height and width of the images in pixels")
    parser.add_argument("--sample-shape", type=shape, metavar="16,32", help="shape of a sample that is no image")
    parser.add_argument(
        "--vocabulary", type=positive, metavar="N", help="samples hold whole numbers below N: token ids"
    )
    parser.add_argument("--stages", type=positive, metavar="N", help=f"pipeline stages (default: {STAGES})")
    parser.add_argument(
        "--cores", type=cores, metavar="0,1,…", help="cores to use (default: those this process may use)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress and no tables")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")


def add_models(parser: Parser, text: str) -> None:
    """Add ``--model``, which takes one name or several and may be given more than once, and ``--config``."""
    parser.add_argument("--model", nargs="+", action="extend", metavar="NAME", help=text)
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file instead of --model")


def positive(text: str) -> int:
    """Parse a whole number from 1 up."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 up")
    return number


def shape(text: str) -> tuple[int, ...]:
    """Parse a shape such as ``16,32``."""
    return tuple(positive(part) for part in text.split(","))


def duration(text: str) -> float:
    """Parse a time such as ``30s``, ``2m`` or ``45`` into seconds."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in {"s", "m"} else (text, "s")
    try:
        seconds = float(number) * {"s": 1, "m": 60}[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a time above 0 such as 30s or 2m")
    return seconds


def size(text: str) -> int:
    """Parse a size such as ``2GiB``, ``512MiB`` or ``4096B`` into bytes."""
    units = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 10**3, "MB": 10**6, "GB": 10**9, "B": 1}
    unit = next((unit for unit in units if text.endswith(unit)), None)
    try:
        found = float(text.removesuffix(unit)) * units[unit] if unit else 0.0
    except ValueError:
        found = 0.0
    if not 1 <= found <= 1 << 50:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size with its unit, such as 2GiB, 512MiB or 4096B")
    return int(found)


def cores(text: str) -> tuple[int, ...]:
    """Parse a list of distinct cores such as ``0,1,2``."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = (-1,)
    if min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of distinct cores such as 0,1,2,3")
    return numbers


def configs(options: argparse.Namespace, default: tuple[str, ...] = ()) -> list[Config]:
    """Return a configuration for each model (and batch size) asked for, with the command line's values in place.

    Raises:
        ConfigError: Neither or both of ``--model`` and ``--config`` are given, or the file is wrong.
    """
    file: Path | None = options.config
    names: list[str] = options.model or ([] if file else list(default))
    if file and names:
        raise ConfigError("--model and --config cannot stand together; the file names its model")
    if not file and not names:
        raise ConfigError("no model is named; add --model resnet50, say")
    found = load_all(file) if file else [config.for_model(name) for name in dict.fromkeys(names)]
    keys = ("batch_size", "image_size", "sample_shape", "vocabulary", "batches", "repeats")
    changes = {key: getattr(options, key, None) for key in keys}
    return list(dict.fromkeys(config.override(one, changes) for one in found))


def fresh_profile(
    config: Config,
    core: int,
    *,
    quiet: bool,
    budget_s: float | None = None,
    folder: Path = Path("profiles"),
) -> Profile:
    """Return the profile kept in ``folder`` that still fits, or measure one and keep it, with a progress bar.

    Raises:
        ProfilerError: The model cannot be built or captured.
    """
    from profiler.measure import profile_for

    @contextmanager
    def bar() -> Iterator[Callable[[float], None]]:
        with progress("profile", 1, quiet=quiet) as advance:
            yield lambda share: advance(share, config.model)

    return profile_for(
        config,
        core,
        bar,
        lambda sentence: note(sentence, quiet=quiet),
        folder=folder,
        budget_s=budget_s,
    )
