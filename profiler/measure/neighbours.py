"""Let other cores train the same model while rounds are taken, as they do when a pipeline runs.

A lone core is optimistic: cores share the last cache, the memory's bandwidth and the clock. So the parts of a step are
timed beside busy neighbours, and now and then they rest for a round.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection

from profiler.capture import captured_model, minibatch
from profiler.errors import ProcessError
from profiler.machine import Helper, helper, pin
from profiler.measure.stepper import stepper_for
from profiler.profile import Form
from profiler.settings import Config

REST_EVERY = 2
"""Before every so many rounds neighbours rest."""


@contextmanager
def busy_neighbours(config: Config, form: Form, cores: Sequence[int]) -> Iterator[Callable[[str], None]]:
    """Let a process on each of ``cores`` train the model whenever it is told to ``run``, not ``rest``.

    They end with the context. Telling returns when all of them do as they were told.
    """
    with ExitStack() as stack:
        processes: list[Helper] = []

        def tell(word: str) -> None:
            for process in processes:
                process.send(word)
            for process in processes:
                process.receive()

        try:
            processes += [stack.enter_context(helper(_train, config, form, core)) for core in cores]
            for process in processes:
                process.receive()
        except ProcessError as error:
            raise ProcessError(f"{error} Or profile beside no busy core, with --cores 0.") from error
        yield tell


def _train(connection: Connection, config: Config, form: Form, core: int) -> None:
    pin(core)
    captured = captured_model(config, form)
    stepper = stepper_for(captured, minibatch(config, captured), config.rule, slots=2)
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
