"""Print what a command has to say: results on stdout, progress and notes on stderr."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from profiler.files import to_json
from profiler.report.rich_table import WIDE

if TYPE_CHECKING:
    from rich.console import Console


def stdout(*, wide: bool = False) -> "Console":
    """Return the console for results, as wide as the terminal, or 80 columns where there is none.

    Args:
        wide: Whether to take as much as all columns need; a narrower terminal wraps the lines.
    """
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    if wide:
        console.width = max(console.width, WIDE)
    return console


@contextmanager
def progress(title: str, total: float, *, quiet: bool) -> Iterator[Callable[[float, str], None]]:
    """Show a bar with the time left on stderr if that is a terminal; yields ``advance(amount, what)``."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as bar:
        task = bar.add_task(title, total=total)

        def advance(amount: float, what: str) -> None:
            bar.update(task, advance=amount, description=f"{title}: {what}")

        yield advance


def note(text: str, *, quiet: bool) -> None:
    """Print one line about what is going on to stderr."""
    if not quiet:
        sys.stderr.write(f"{text}\n")


def emit_json(results: Sequence[Any]) -> None:
    """Print the results as JSON: one as it is, several as a list, none not at all."""
    if results:
        sys.stdout.write(to_json(results[0] if len(results) == 1 else list(results)).decode())
