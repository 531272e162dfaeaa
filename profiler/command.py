"""What the three commands share: options, exit codes, errors as one sentence, results on stdout, progress on stderr."""

import argparse
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from profiler import config
from profiler.config import Config
from profiler.errors import ConfigError, StageplanError
from profiler.files import write_whole
from profiler.types import Profile

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one sentence."""

    def error(self, message: str) -> NoReturn:
        """Print the complaint and exit with 2."""
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def execute(parser: Parser, run: Callable[[argparse.Namespace], int], argv: list[str] | None) -> int:
    """Parse ``argv``, call ``run`` and return the exit code; an expected error is printed as one sentence."""
    options = parser.parse_args(argv)
    try:
        return run(options)
    except StageplanError as error:
        if options.debug:
            traceback.print_exc()
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted; nothing is left running\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left; Python would complain once more when it flushes stdout.
        sys.stdout = None
        return 1


def add_common(parser: Parser) -> None:
    """Add the options that every command has."""
    parser.add_argument("--batch-size", type=positive, metavar="N", help="samples per minibatch")
    parser.add_argument("--image-size", type=positive, metavar="N", help="height and width of the images in pixels")
    parser.add_argument("--stages", type=positive, metavar="N", default=4, help="pipeline stages (default: 4)")
    parser.add_argument(
        "--cores", type=cores, metavar="0,1,…", help="cores to use (default: those this process may use)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress and no tables")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")


def add_models(parser: Parser, text: str) -> None:
    """Add ``--model``, which takes one name or several and may be given more than once."""
    parser.add_argument("--model", nargs="+", action="extend", metavar="NAME", help=text)


def positive(text: str) -> int:
    """Parse a whole number from 1 up."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 up")
    return number


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
    """Return one configuration for each model asked for, with the command line's values in place.

    Raises:
        ConfigError: Neither or both of ``--model`` and ``--config`` are given, or the file is wrong.
    """
    file: Path | None = getattr(options, "config", None)
    names: list[str] = options.model or ([] if file else list(default))
    if file and names:
        raise ConfigError("--model and --config cannot stand together; the file names its model")
    if not file and not names:
        raise ConfigError("no model is named; add --model resnet50, say")
    found = [config.load(file)] if file else [config.for_model(name) for name in dict.fromkeys(names)]
    changes = {key: getattr(options, key, None) for key in ("batch_size", "image_size", "batches", "repeats")}
    return [config.override(one, changes) for one in found]


def stdout() -> "Console":
    """Return the console for results; it is as wide as the terminal, or wide enough for a table in a file."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 140, highlight=False)


@contextmanager
def progress(title: str, total: float, *, quiet: bool) -> Iterator[Callable[[float, str], None]]:
    """Show a bar with the time left on stderr; yields ``advance(amount, what)``."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=quiet, transient=console.is_terminal) as bar:
        task = bar.add_task(title, total=total)

        def advance(amount: float, what: str) -> None:
            bar.update(task, advance=amount, description=f"{title}: {what}")

        yield advance


def fresh_profile(config: Config, core: int, *, quiet: bool) -> Profile:
    """Return the kept profile that still fits, or measure one and keep it, with a progress bar.

    Raises:
        ProfilerError: The model cannot be built or captured.
    """
    from profiler.measure import STEPS
    from profiler.store import profile_for

    with progress("profile", STEPS, quiet=quiet) as advance:
        return profile_for(config, core, lambda: advance(1, config.model), lambda sentence: note(sentence, quiet=quiet))


def note(text: str, *, quiet: bool) -> None:
    """Print one line about what is going on to stderr."""
    if not quiet:
        sys.stderr.write(f"{text}\n")


def emit(content: bytes, path: Path | None) -> None:
    """Print ``content`` to stdout, or keep it whole in ``path`` where one is given."""
    if path is not None:
        write_whole(path, content)
    else:
        sys.stdout.write(content.decode())
