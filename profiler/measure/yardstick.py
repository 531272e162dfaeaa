"""A yardstick: the plain step of a model on one core while no other is busy, with updates in place.

It is timed in a process of its own, which stays between two timings, so that the model is built once.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from statistics import median
from typing import NamedTuple

from profiler.capture import captured_model, minibatch
from profiler.errors import StageplanError
from profiler.execution import Captured
from profiler.machine import Helper, blaming, helper, pin
from profiler.measure.stepper import Stepper, stepper_for
from profiler.profile import PLAIN_FORM, Form
from profiler.rounds import foreign_load
from profiler.settings import Config

LEAST_STEPS, MOST_STEPS = 3, 60
WARM_UP_STEPS = 2
BUDGET_S = 1.5
"""For how long steps are repeated."""


class StepTime(NamedTuple):
    """The median time of a plain step, and the share of the time in which the core worked for others."""

    step_s: float
    foreign_load: float


@contextmanager
def step_timer(config: Config, core: int, form: Form = PLAIN_FORM) -> Iterator[Callable[[float], StepTime]]:
    """Time the plain training step of a configuration on one core, whenever that is asked for.

    Its process is started when it is first asked, anew after a failure, and ends with the context. What is asked is for
    how many seconds to wait.
    """
    with ExitStack() as stack:
        processes: list[Helper] = []

        def timed(patience_s: float) -> StepTime:
            try:
                processes[:] = processes or [stack.enter_context(helper(_time, config, core, form))]
                processes[0].send("time")
                step: StepTime = processes[0].receive(patience_s)
            except StageplanError:
                processes.clear()
                stack.close()
                raise
            return step

        yield timed


def plain_steps(stepper: Stepper, least: int, budget_s: float) -> list[float]:
    """Return what each of ``least`` plain steps took, or of more as long as ``budget_s`` lasts."""
    samples: list[float] = []
    until_s = stepper.clock() + budget_s
    while len(samples) < least or (stepper.clock() < until_s and len(samples) < MOST_STEPS):
        samples.append(stepper.plain_step())
    return samples


def _time(connection: Connection, config: Config, core: int, form: Form) -> None:
    pin(core)
    captured: Captured = captured_model(config, form)
    with blaming(config.name):
        rule = replace(config.rule, lr=0.0)
        stepper = stepper_for(captured, minibatch(config, captured), rule, 1)  # one core updates in place
        stepper.versions.place_gradients(stepper.segment.placeable)  # as the profile's step has it
        while _asked(connection):
            plain_steps(stepper, WARM_UP_STEPS, 0.0)
            cpu_s = stepper.cpu_clock()
            samples = plain_steps(stepper, LEAST_STEPS, BUDGET_S)
            cpu_s = stepper.cpu_clock() - cpu_s
            connection.send(StepTime(median(samples), foreign_load(samples, [cpu_s])))


def _asked(connection: Connection) -> bool:
    """Wait until the parent asks again; it does not where it has gone."""
    with suppress(EOFError, OSError):
        connection.recv()
        return True
    return False
