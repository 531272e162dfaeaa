"""A yardstick against the machine's drift: the plain step of a model on one core, as a profile's ``whole_step_s``.

It is timed in a process of its own, which ends with it, so that it holds no memory while anything else is measured.
"""

from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from statistics import median

from profiler.capture import captured_model, minibatch
from profiler.execution import Captured
from profiler.machine import blaming, helper, pin
from profiler.measure.statistics import foreign_load
from profiler.measure.stepper import Clocks, Stepper, stepper_for
from profiler.profile import FP32, Form
from profiler.settings import Config

LEAST_STEPS, MOST_STEPS = 3, 60
WARM_UP_STEPS = 2
BUDGET_S = 1.5
"""For how long steps are repeated."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """The median time of a plain step, and the share of the time in which the core worked for others."""

    step_s: float
    foreign_load: float


def time_step(config: Config, core: int, patience_s: float, precision: str = FP32) -> StepTime:
    """Time the plain step of ``config`` on ``core``, in float32 or under autocast.

    Raises:
        StageplanError: The process ended, most likely for want of memory, a layer failed, or it took longer than
            ``patience_s``.
    """
    with helper(_time, config, core, precision) as process:
        found: StepTime = process.receive(patience_s)
        return found


def plain_steps(stepper: Stepper, least: int, budget_s: float) -> list[float]:
    """Return what each of ``least`` plain steps took, or of more as long as ``budget_s`` lasts."""
    samples: list[float] = []
    until_s = stepper.clock() + budget_s
    while len(samples) < least or (stepper.clock() < until_s and len(samples) < MOST_STEPS):
        samples.append(stepper.plain_step())
    return samples


def _time(_connection: Connection, config: Config, core: int, precision: str) -> StepTime:
    pin(core)
    captured: Captured = captured_model(config, Form(precision=precision))
    with blaming(config.model):
        stepper = stepper_for(captured, minibatch(config, captured), replace(config.rule, lr=0.0), 2, Clocks())
        stepper.versions.place_gradients(stepper.segment.placeable, fused=True)  # as the profile's step has it
        plain_steps(stepper, WARM_UP_STEPS, 0.0)
        cpu_s = stepper.cpu_clock()
        samples = plain_steps(stepper, LEAST_STEPS, BUDGET_S)
        cpu_s = stepper.cpu_clock() - cpu_s
    return StepTime(median(samples), foreign_load(samples, [cpu_s]))
