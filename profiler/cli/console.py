"""The screen of a command: results on stdout, progress and notes on stderr, as far as anybody wants to see them.

What is wanted is said once, where a command begins or a function of Python is called, and holds for all that it calls.
"""

import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from profiler.files import to_json
from profiler.shown import LEAST_WIDTH

if TYPE_CHECKING:
    from rich.console import Console


_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)


def quiet() -> bool:
    """Say whether results alone are to be seen here."""
    return _QUIET.get()


@contextmanager
def keeping_quiet(wanted: bool) -> Iterator[None]:  # noqa: FBT001 - its only parameter
    """Show results alone, or all, for as long as the context lasts."""
    before = _QUIET.set(wanted)
    try:
        yield
    finally:
        _QUIET.reset(before)


def stdout() -> "Console":
    """Return the console for results, as wide as the terminal, and no narrower than tables, which cut no figure off."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    console.width = max(console.width, LEAST_WIDTH)
    return console


def live_console() -> "Console | None":
    """Return the console for what moves, on stderr; None where nobody would see it."""
    from rich.console import Console

    console = Console(stderr=True)
    return console if console.is_terminal and not quiet() else None


@contextmanager
def progress(title: str, total: float) -> Iterator[Callable[[float, str], None]]:
    """Show a bar with the time left on stderr if that is a terminal; yields ``advance(amount, what)``."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = live_console()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=console is None, transient=True) as bar:
        task = bar.add_task(title, total=total)

        def advance(amount: float, what: str) -> None:
            bar.update(task, advance=amount, description=f"{title}: {what}")

        yield advance


def note(text: str) -> None:
    """Print what is going on to stderr."""
    if not quiet():
        note_anyway(text)


def note_anyway(text: str) -> None:
    """Print what has to be read to stderr, however quiet a command is to be, in lines as wide as a screen."""
    lines = textwrap.wrap(text, LEAST_WIDTH, break_long_words=False, break_on_hyphens=False)
    sys.stderr.write("".join(f"{line}\n" for line in lines))


def emit_json(results: Sequence[Any]) -> None:
    """Print the results as JSON: one as it is, several as a list, none not at all."""
    if results:
        sys.stdout.write(to_json(results[0] if len(results) == 1 else list(results)).decode())
