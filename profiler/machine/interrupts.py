"""Put Ctrl-C off while something is under way that must not be cut in two."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put Ctrl-C off to the end of the context.

    A mask alone would not do: the kernel hands the signal to any thread that lets it through, and Python then runs its
    handler in the main one. The mask is for the processes that are started meanwhile, which inherit it.
    """
    pressed: list[int] = []
    in_charge = threading.current_thread() is threading.main_thread()  # no other thread is ever interrupted
    handler = signal.getsignal(signal.SIGINT)
    if in_charge and handler is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda number, _frame: pressed.append(number))
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        if in_charge:
            signal.signal(signal.SIGINT, handler)
        if pressed:
            signal.raise_signal(signal.SIGINT)
