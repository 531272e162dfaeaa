"""Take Ctrl-C, and SIGTERM where a command runs: put them off while something must not be cut in two, or end in order.

Whoever wants them gives a *taker*, which is called with the signal's number; the innermost one has it. SIGTERM does
what Ctrl-C does from ``ending_in_order`` on; a program of the user's, which calls us from Python, keeps its own.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
Taker = Callable[[int], None]
_takers: list[Taker] = []
_raised: list[KeyboardInterrupt] = []
"""What ``ending_in_order`` has raised."""


def _take(number: int, _frame: object) -> None:
    _takers[-1](number)


def _interrupt(number: int) -> NoReturn:
    raise KeyboardInterrupt(number)


@contextmanager
def _handled(number: int, *, wanted: bool) -> Iterator[None]:
    """Let the takers have a signal that is ``wanted``; after that it has the handler that it had before."""
    before = signal.getsignal(number)
    if wanted:
        signal.signal(number, _take)
    try:
        yield
    finally:
        if wanted and signal.getsignal(number) is _take:
            signal.signal(number, before)


@contextmanager
def taking(taker: Taker) -> Iterator[None]:
    """Let ``taker`` have Ctrl-C, and SIGTERM where that is taken, for as long as the context lasts.

    In another thread than the main one, which no signal reaches, and where Ctrl-C is ignored, it has nothing of it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    _takers.append(taker)
    try:
        with _handled(signal.SIGINT, wanted=callable(before) and before is not _take):
            yield
    finally:
        _takers.remove(taker)


def pass_on(taker: Taker, number: int) -> None:
    """Let a signal that came to ``taker`` have the one around it, or raise ``KeyboardInterrupt`` where none is."""
    at = _takers.index(taker)
    (_takers[at - 1] if at else _interrupt)(number)


def _end(number: int) -> NoReturn:
    _raised.append(KeyboardInterrupt(number))
    raise _raised[-1]


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM alike raise ``KeyboardInterrupt``, with the signal's number.

    While what was started is ended by it, and after that, they are ignored. SIGTERM comes also to a job in the
    background, whose Ctrl-C is ignored. Python swallows what is raised in a finalizer: ``draining`` raises it again,
    and so does another signal.
    """

    def end(number: int) -> None:
        if not _under_way():
            _end(number)

    main = threading.current_thread() is threading.main_thread()
    takes = main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with taking(end), _handled(signal.SIGTERM, wanted=takes):
        try:
            yield
        finally:
            for number in SIGNALS if _raised else ():
                if signal.getsignal(number) is _take:
                    signal.signal(number, signal.SIG_IGN)
            _raised.clear()  # and what its traceback holds


def _under_way() -> bool:
    """Whether something is being ended by an interrupt that was raised."""
    error = sys.exc_info()[1]
    while error and error not in _raised:
        error = error.__context__
    return error is not None


@contextmanager
def draining(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Let the first Ctrl-C or SIGTERM ``stop`` what runs, and be raised again when it has ended; a second ends at once.

    Yields the numbers of the signals that have come.
    """
    if _raised and not _under_way():
        _end(_raised[-1].args[0])
    pressed: list[int] = []

    def first(number: int) -> None:
        pressed.append(number)
        if len(pressed) == 1:
            stop()
        else:
            pass_on(first, number)

    with taking(first):
        yield pressed
    if pressed:
        signal.raise_signal(pressed[0])


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put Ctrl-C, and SIGTERM where it is taken, off to the end of the context.

    A mask alone would not do: the kernel hands a signal to any thread that lets it through, and Python then runs its
    handler in the main one. The mask is for the processes that are started meanwhile, which inherit it.
    """
    pressed: list[int] = []
    try:
        with taking(pressed.append):
            masked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            try:
                yield
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, masked)
    finally:
        if pressed:
            signal.raise_signal(pressed[0])


def left_to_parent() -> None:
    """Leave Ctrl-C and SIGTERM, which may come to a whole group of processes, to the parent: this one ends with it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
