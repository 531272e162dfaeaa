"""A signal ends a command in order, once, also where Python swallows what it raised."""

import signal
import sys
from collections.abc import Callable
from contextlib import suppress

import pytest

from profiler.machine import draining, ending_in_order


class Finalized:
    """Takes a signal while it is let go of, where nothing can be raised."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)


@pytest.fixture(autouse=True)
def handlers() -> None:
    """Have the handlers that a command begins with."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.fixture
def swallowed(monkeypatch: pytest.MonkeyPatch) -> list[type[BaseException]]:
    """What Python has swallowed."""
    kinds: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: kinds.append(lost.exc_type))
    return kinds


BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


def interrupt_of(run: Callable[[], None]) -> tuple[int, ...]:
    """What the interrupt that ended ``run`` says."""
    with pytest.raises(KeyboardInterrupt) as raised, ending_in_order():
        run()
    return raised.value.args


@BOTH
def test_a_signal_that_was_swallowed_ends_what_comes_next(number: int, swallowed: list[type[BaseException]]) -> None:
    stopped: list[int] = []

    def run() -> None:
        Finalized(number)
        assert swallowed == [KeyboardInterrupt]
        with draining(lambda: stopped.append(1)):
            pytest.fail("it began")

    assert interrupt_of(run) == (number,)
    assert not stopped


@BOTH
def test_another_signal_ends_what_the_first_did_not(number: int, swallowed: list[type[BaseException]]) -> None:
    def run() -> None:
        Finalized(signal.SIGTERM)
        assert swallowed == [KeyboardInterrupt]
        signal.raise_signal(number)
        pytest.fail("it went on")

    assert interrupt_of(run) == (number,)


def test_signals_are_ignored_while_what_was_started_is_ended_and_after_that() -> None:
    ended: list[str] = []

    def run() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            signal.raise_signal(signal.SIGTERM)
            with suppress(ValueError):
                int("no number")
            signal.raise_signal(signal.SIGINT)
            ended.append("what was started")
            raise
        finally:
            signal.raise_signal(signal.SIGINT)
            ended.append("the rest")

    assert interrupt_of(run) == (signal.SIGTERM,)
    assert ended == ["what was started", "the rest"]
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)


def test_a_second_signal_ends_what_drains(swallowed: list[type[BaseException]]) -> None:
    stopped: list[int] = []

    def run() -> None:
        with draining(lambda: stopped.append(1)) as pressed:
            signal.raise_signal(signal.SIGTERM)
            assert stopped == [1]
            assert pressed == [signal.SIGTERM]
            signal.raise_signal(signal.SIGINT)
            pytest.fail("it went on")

    assert interrupt_of(run) == (signal.SIGINT,)
    assert not swallowed
