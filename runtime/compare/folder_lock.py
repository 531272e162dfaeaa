"""Lock the folders that a comparison is kept in, so that two commands do not write one answer over the other."""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from profiler.errors import ConfigError
from profiler.files import unwritable


@contextmanager
def locked(folders: Iterable[Path]) -> Iterator[None]:
    """Hold folders for this process; those that had to be made and stay empty are taken away again.

    The lock is the kernel's, on the folder itself: it leaves no file, and ends with the process.
    """
    with ExitStack() as held:
        for folder in dict.fromkeys(folder.resolve() for folder in folders):
            held.enter_context(_locked(folder))
        yield


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_there = os.path.samestat(folder.stat(), os.fstat(descriptor))  # not taken away meanwhile
        except (BlockingIOError, FileNotFoundError):
            is_there = False
        except OSError as error:
            raise unwritable(folder, error.strerror or str(error)) from error
        if not is_there:
            raise ConfigError(
                f"another comparison is being made in {folder}; wait until it is done, or give another folder with "
                "--out"
            )
        try:
            yield
        finally:
            with suppress(OSError):  # something lies in it
                for each in made:
                    each.rmdir()
