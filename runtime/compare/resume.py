"""Take up a comparison that is kept, finished or not, if it is what is asked for; move any other out of the way."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from profiler.errors import FileError
from profiler.files import is_file, read_json, unwritable
from profiler.machine import differences, this_machine
from runtime.compare.comparison import Comparison
from runtime.compare.request import Request
from runtime.results import Clock


@dataclass(frozen=True, slots=True)
class Resumable:
    """A kept comparison that can be resumed, or the reason why there is none.

    Attributes:
        comparison: The one that is asked for, with its runs so far; None where there is no such.
        reason: Why what lies there is not that one; nothing where nothing lies there.
    """

    comparison: Comparison | None
    reason: str = ""


def find_comparison(path: Path, request: Request, clock: Clock, *, fresh: bool, digest: Callable[[], str]) -> Resumable:
    """Look for the comparison that is asked for in ``path``; nothing is changed there.

    Args:
        path: Where it would be.
        request: What is asked for.
        clock: By which clock.
        fresh: Whether it is to be measured anew in any case.
        digest: Gives that of the model as it is now.
    """
    if not is_file(path):
        return Resumable(None)
    try:
        comparison = read_json(path, Comparison)
    except FileError as error:
        return Resumable(None, str(error))
    reason = "--fresh" if fresh else _difference(comparison, request, clock)
    if not reason and comparison.model_digest != digest():
        reason = "the model has changed since"
    if reason:
        return Resumable(None, reason)
    request = replace(request, repeats=max(request.repeats, comparison.rounds))
    return Resumable(replace(comparison, request=request))


def _difference(comparison: Comparison, request: Request, clock: Clock) -> str:
    """Say why ``comparison`` is not what is asked for; nothing where it is, or has fewer rounds."""
    if asked := differences(replace(comparison.request, repeats=request.repeats), request):
        return f"that one was asked for otherwise: {'; '.join(asked)}"
    if comparison.clock != clock:
        return f"that one was asked for otherwise: clock {comparison.clock} there, {clock} here"
    others = differences(comparison.machine, this_machine())
    return f"that one was measured elsewhere: {'; '.join(others)}" if others else ""


def set_aside(path: Path) -> Path:
    """Move what lies in ``path`` to a name beside it that nothing has yet, and return that."""
    names = (path.with_suffix(f".previous{'' if number == 1 else f'-{number}'}.json") for number in count(1))
    free = next(name for name in names if not name.exists())
    try:
        path.replace(free)
    except OSError as error:
        raise unwritable(free, error.strerror or str(error), "give another place with --out") from error
    return free
