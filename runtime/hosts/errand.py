"""A call that may block for ever, as those of torch's store and gloo do once a host is gone, in a thread of its own."""

import os
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, NoReturn, TypeVar

T = TypeVar("T")
SLICE_S = 0.25


class Errand(threading.Thread, Generic[T]):
    """A call under way, which can be left behind."""

    def __init__(self, call: Callable[[], T]) -> None:
        """Begin."""
        super().__init__(name="stageplan-errand", daemon=True)
        self._call, self._answers, self._errors = call, list[T](), list[BaseException]()
        self.start()

    def run(self) -> None:
        """Make the call."""
        try:
            self._answers.append(self._call())
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is awaited
            self._errors.append(error)

    def answer(self, look: Callable[[], None]) -> T:
        """Wait for the answer and return it, or raise what the call or ``look``, made now and then, raises."""
        while self.is_alive():
            self.join(SLICE_S)
            if self.is_alive():
                look()
        for error in self._errors:
            raise error
        return self._answers[0]


def exit_with(program: Callable[[], int]) -> NoReturn:
    """Run a program and end this process with its exit code.

    At once where a call is under way: one that comes back while Python ends would abort the process.
    """
    try:
        code = program()
    except Exception:  # noqa: BLE001 - a bug is told as Python does
        traceback.print_exc()
        code = 1
    if any(isinstance(thread, Errand) for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, AttributeError):
                stream.flush()
        os._exit(code)
    sys.exit(code)
