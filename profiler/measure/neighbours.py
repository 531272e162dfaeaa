"""Measure next to busy neighbours: other cores run the same training step while the rounds are taken.

A round alone and a round beside the neighbours take turns, so that a drift of the machine meets both. A lone core is
optimistic: cores share the last cache, the memory's bandwidth and the clock.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection

from profiler.capture import captured_model, minibatch
from profiler.machine import Helper, helper, pin
from profiler.measure.stepper import Clocks, Stepper, stepper_for
from profiler.rounds import Samples
from profiler.settings import Config


class Neighbours:
    """Processes on other cores that train the same model, or rest."""

    def __init__(self, processes: Sequence[Helper]) -> None:
        """Wait until all are ready to run."""
        self._processes = processes
        self._answers()

    def run(self) -> None:
        """Let the neighbours run, and return when all of them do."""
        self._tell("run")

    def rest(self) -> None:
        """Let the neighbours rest, and return when all of them do."""
        self._tell("rest")

    def _tell(self, word: str) -> None:
        for process in self._processes:
            process.send(word)
        self._answers()

    def _answers(self) -> None:
        for process in self._processes:
            process.receive()


@contextmanager
def busy_neighbours(config: Config, cores: Sequence[int]) -> Iterator[Neighbours]:
    """Let a process on each of ``cores`` train the model whenever it is told to; they end with the context.

    Raises:
        ProcessError: One ended, most likely for want of memory.
    """
    with ExitStack() as stack:
        yield Neighbours([stack.enter_context(helper(_train, config, core)) for core in cores])


class Turns:
    """Rounds alone and rounds beside the neighbours in turn; the former decide how many are needed."""

    def __init__(self, stepper: Stepper, beside: Neighbours) -> None:
        """Prepare to take both kinds of rounds with ``stepper``."""
        self._stepper, self._beside = stepper, beside
        self.samples, self.loaded = stepper.samples, Samples()

    def round(self) -> None:
        """Time one training step while the other cores rest, and one while they train."""
        self._stepper.round()
        self._beside.run()
        self._stepper.take(self.loaded)
        self._beside.rest()


def _train(connection: Connection, config: Config, core: int) -> None:
    pin(core)
    captured = captured_model(config)
    stepper = stepper_for(captured, minibatch(config, captured), config.rule, slots=2, clocks=Clocks())
    stepper.plain_step()
    connection.send("ready")
    while True:
        try:
            word = connection.recv()
            connection.send(word)
            while word == "run" and not connection.poll():
                stepper.plain_step()
        except (EOFError, OSError):  # the parent has gone, and with it the reason to run
            return
