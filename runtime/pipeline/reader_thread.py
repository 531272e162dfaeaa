"""Call a user's loader in a thread of its own, one call after the other: one that hangs holds up nobody else."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from queue import SimpleQueue
from typing import Generic, TypeVar

from runtime.cluster import Errand

T = TypeVar("T")


class ReaderThread(Generic[T]):
    """One call at a time: ``ask``, wait until it is ``answered``, ``take``. All calls are made in the same thread.

    Attributes:
        asked_s: Since when the call is under way, on the machine's monotonic clock; None where none is.
    """

    def __init__(self, call: Callable[[], T]) -> None:
        """Make ``call`` each time that it is asked for; the thread begins with the first."""
        self._call = call
        self._calls, self._answers = SimpleQueue[Callable[[], T] | None](), SimpleQueue[T | BaseException]()
        self._errand: Errand[None] | None = None
        self._signal = -1
        self.asked_s: float | None = None

    def fileno(self) -> int:
        """Return the descriptor that can be read once the call is answered."""
        return self._signal

    def ask(self) -> None:
        """Begin the call, unless it is under way."""
        if self.asked_s is not None:
            return
        if self._errand is None:
            self._signal = os.eventfd(0)
            self._errand = Errand(self._serve)
        self.asked_s = time.perf_counter()
        self._calls.put(self._call)

    def answered(self, patience_s: float = 0.0) -> bool:
        """Say whether the call is answered, after ``patience_s`` at the latest."""
        return self.asked_s is not None and bool(wait([self._signal], patience_s))

    def take(self) -> T:
        """Return what the call that is ``answered`` returned, or raise what it raised."""
        os.eventfd_read(self._signal)
        self.asked_s, answer = None, self._answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

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
                    answer: T | BaseException = call()
                except BaseException as error:  # noqa: BLE001 - it is raised where the answer is taken
                    answer = error
                self._answers.put(answer)
                os.eventfd_write(signal, 1)
                del answer
        finally:
            with suppress(OSError):
                os.close(signal)
