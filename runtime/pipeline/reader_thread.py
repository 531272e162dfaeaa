"""Call a user's loader in a thread of its own, one call after the other: one that hangs holds up nobody else."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from queue import SimpleQueue
from typing import Any

from profiler.errors import StageplanError, one_line
from runtime.errors import InputError
from runtime.hosts import Errand

PATIENCE_S = 300.0
"""How long a loader may take for a minibatch where nothing else is said."""
NO_MORE = object()
"""What stands for a minibatch at the end of a loader."""


class ReaderThread:
    """One call at a time: ``ask``, wait until it is ``answered``, ``take``. All calls are made in the same thread.

    Attributes:
        asked_s: Since when the call is under way, on the machine's monotonic clock; None where none is.
    """

    def __init__(self) -> None:
        """Prepare; the thread begins with the first call."""
        self._calls, self._answers = SimpleQueue[Callable[[], Any] | None](), SimpleQueue[Any]()
        self._errand: Errand[None] | None = None
        self._signal = -1
        self.asked_s: float | None = None

    def fileno(self) -> int:
        """Return the descriptor that can be read once the call is answered."""
        return self._signal

    def ask(self, call: Callable[[], Any]) -> None:
        """Begin a call, unless one is under way."""
        if self.asked_s is not None:
            return
        if self._errand is None:
            self._signal = os.eventfd(0)
            self._errand = Errand(self._serve)
        self.asked_s = time.perf_counter()
        self._calls.put(call)

    def answered(self, patience_s: float = 0.0) -> bool:
        """Say whether the call is answered, after ``patience_s`` at the latest."""
        return self.asked_s is not None and bool(wait([self._signal], patience_s))

    def take(self) -> Any:
        """Return what the call that is ``answered`` returned, or raise what it raised."""
        os.eventfd_read(self._signal)
        self.asked_s, answer = None, self._answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def call(self, call: Callable[[], Any], longest_s: float, what: str) -> Any:
        """Make a call, wait for ``what`` it reads, and return that."""
        self.ask(call)
        while not self.answered(longest_s):
            self.refuse_to_wait(longest_s, what)
        return self.take()

    def refuse_to_wait(self, longest_s: float, what: str) -> None:
        """Refuse to wait for what was asked for ``longest_s`` ago, or before."""
        if self.asked_s is not None and time.perf_counter() - self.asked_s >= longest_s:
            raise InputError(
                f"{what} did not come within {longest_s:.0f} s: the loader hangs, or is slow; end what it waits for, "
                "or allow more with --stall-timeout"
            )

    def close(self) -> None:
        """Make no more calls; one that hangs is left behind, and ends with this process at the latest."""
        errand, self._errand = self._errand, None
        if errand:
            self._calls.put(None)
            errand.join(0.0 if self.asked_s is not None else None)

    def _serve(self) -> None:
        signal = self._signal
        try:
            while call := self._calls.get():
                try:
                    answer = call()
                except BaseException as error:  # noqa: BLE001 - it is raised where the answer is taken
                    answer = error
                self._answers.put(answer)
                os.eventfd_write(signal, 1)
                del answer, call
        finally:
            with suppress(OSError):
                os.close(signal)


@contextmanager
def blaming_loader(name: str, number: int) -> Iterator[None]:
    """Say that the loader raised what is raised here, be it to end the program, at which minibatch."""
    try:
        yield
    except StageplanError:
        raise
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        raise InputError(f"{name} raised {type(error).__name__} at minibatch {number}: {one_line(error)}") from error


def one_by_one(loader: Iterable[Any], name: str, patience_s: float) -> Iterator[Any]:
    """Yield what a loader does, each read in a thread of its own.

    Args:
        loader: Iterated in that thread.
        name: What to call it.
        patience_s: How long each may take.
    """
    thread = ReaderThread()
    begun: list[Iterator[Any]] = []

    def following() -> Any:
        with blaming_loader(name, number):
            if not begun:
                begun.append(iter(loader))
            return next(begun[0], NO_MORE)

    number = 0
    try:
        while (minibatch := thread.call(following, patience_s, f"minibatch {number} of {name}")) is not NO_MORE:
            yield minibatch
            number += 1
    finally:
        thread.close()
        begun.clear()
