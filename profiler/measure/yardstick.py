"""A yardstick against the machine's drift: the plain step of a model on one core, timed again whenever asked for.

It runs in a process of its own, under the settings and in the way in which a profile's ``whole_step_s`` is measured,
and sleeps in between.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from statistics import median

from profiler.capture import captured_model, minibatch
from profiler.errors import blaming
from profiler.machine import Helper, helper, pin
from profiler.measure.stepper import Clocks, Stepper, stepper_for
from profiler.settings import Config

LEAST_STEPS, MOST_STEPS = 3, 60
BUDGET_S = 1.5
"""For how long steps are repeated each time."""


class Yardstick:
    """Times the step in its process."""

    def __init__(self, process: Helper) -> None:
        """Wait until the step has been warmed up.

        Raises:
            ProcessError: The process ended, most likely for want of memory.
        """
        self._process = process
        process.receive()

    def step_s(self) -> float:
        """Return the median of some plain steps.

        Raises:
            ProcessError: The process ended.
        """
        self._process.send("step")
        return float(self._process.receive())


@contextmanager
def start_yardstick(config: Config, core: int) -> Iterator[Yardstick]:
    """Start a process on ``core`` that times the plain step of ``config`` when asked; it ends with the context.

    Raises:
        ProcessError: It ended before, most likely for want of memory.
    """
    with helper(_serve, config, core) as process:
        yield Yardstick(process)


def plain_steps(stepper: Stepper, least: int, budget_s: float) -> list[float]:
    """Return what each of ``least`` plain steps took, or of more as long as ``budget_s`` lasts."""
    samples: list[float] = []
    until_s = stepper.clock() + budget_s
    while len(samples) < least or (stepper.clock() < until_s and len(samples) < MOST_STEPS):
        samples.append(stepper.plain_step())
    return samples


def _serve(connection: Connection, config: Config, core: int) -> None:
    pin(core)
    captured = captured_model(config)
    with blaming(config.model):
        stepper = stepper_for(captured, minibatch(config, captured), replace(config.rule, lr=0.0), 2, Clocks())
        stepper.warm_up()
        connection.send("ready")
        while True:
            try:
                connection.recv()
                connection.send(median(plain_steps(stepper, LEAST_STEPS, BUDGET_S)))
            except (EOFError, OSError):  # the parent has gone, and with it the reason to run
                return
