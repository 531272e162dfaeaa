"""Take up a comparison that is kept: finished or not, if it is what is asked for; else set it aside, never over it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from profiler.errors import FileError
from profiler.files import is_file, read_json, unwritable
from runtime.comparison import Comparison
from runtime.request import Request, difference


def kept(path: Path, request: Request, *, fresh: bool, report: Callable[[str], None]) -> Comparison | None:
    """Return the comparison in ``path`` with its runs, if it is what is asked for; any other file is moved aside.

    Args:
        path: Where it would be.
        request: What is asked for.
        fresh: Whether it is to be measured anew in any case.
        report: Called with what is done, in a sentence.

    Raises:
        FileError: It cannot be moved.
    """
    if not is_file(path):
        return None
    try:
        found = read_json(path, Comparison)
        reason = "--fresh" if fresh else difference(found, request)
    except FileError as error:
        reason = str(error)
    else:
        if not reason:
            found = replace(found, repeats=max(request.repeats, found.rounds))
            if found.complete:
                report(f"{path} is that very comparison, of {found.began_at}; --fresh measures anew")
            else:
                report(f"going on with {path}: {found.rounds} of {found.repeats} rounds are done")
            return found
    aside = path.with_suffix(".previous.json")
    try:
        path.replace(aside)
    except OSError as error:
        raise unwritable(aside, error.strerror or str(error)) from error
    report(f"what was in {path} is now in {aside.name}: {reason}")
    return None
