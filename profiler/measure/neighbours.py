"""Let other cores train the same model while rounds are taken, as they do when a pipeline runs.

A lone core is optimistic: cores share the last cache, the memory's bandwidth and the clock. So the parts of a step are
timed beside busy neighbours, and now and then they rest for a round.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection

from profiler.capture import captured_model, minibatch
from profiler.errors import ProcessError
from profiler.machine import Helper, helper, pin
from profiler.measure.stepper import Clocks, stepper_for
from profiler.profile import Form
from profiler.settings import Config

REST_EVERY = 2
"""Before every so many rounds neighbours rest."""


class Neighbours:
    """Processes on other cores that train the same model, or rest."""

    def __init__(self, processes: Sequence[Helper]) -> None:
        """Wait until all are ready to run."""
        self._processes = processes
        self._answers()

    def run(self) -> None:
        """Let them run, and return when all of them do."""
        self._tell("run")

    def rest(self) -> None:
        """Let them rest, and return when all of them do."""
        self._tell("rest")

    def _tell(self, word: str) -> None:
        for process in self._processes:
            process.send(word)
        self._answers()

    def _answers(self) -> None:
        for process in self._processes:
            process.receive()


@contextmanager
def busy_neighbours(config: Config, form: Form, cores: Sequence[int]) -> Iterator[Neighbours]:
    """Let a process on each of ``cores`` train the model whenever it is told to; they end with the context."""
    with ExitStack() as stack:
        try:
            beside = Neighbours([stack.enter_context(helper(_train, config, form, core)) for core in cores])
        except ProcessError as error:
            raise ProcessError(f"{error} Or profile beside no busy core, with --cores 0.") from error
        yield beside


def _train(connection: Connection, config: Config, form: Form, core: int) -> None:
    pin(core)
    captured = captured_model(config, form)
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
