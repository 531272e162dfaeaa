"""Time the plain training step of a whole model on one core: how fast that core is for this model."""

import sys
from contextlib import redirect_stdout
from dataclasses import replace

from profiler.capture import minibatch
from profiler.errors import blaming
from profiler.execution import Captured
from profiler.machine import settled
from profiler.measure.statistics import timing
from profiler.measure.stepper import Clocks, stepper_for
from profiler.profile import Timing
from profiler.settings import Config

LEAST, MOST = 7, 60


def measure_step(
    config: Config,
    captured: Captured,
    core: int,
    budget_s: float,
    clocks: Clocks = Clocks(),  # noqa: B008 - it is frozen
) -> Timing:
    """Return what a step takes, as a profile's ``whole_step`` is timed.

    Args:
        config: Model, batch size, input and update rule.
        captured: The model.
        core: The core to measure on.
        budget_s: For how long to repeat the step, which is done seven times at least.
        clocks: Where times are read.

    Raises:
        CaptureError: A layer raises in its backward.
    """
    with settled(core), blaming(config.model), redirect_stdout(sys.stderr):
        stepper = stepper_for(captured, minibatch(config, captured), replace(config.rule, lr=0.0), 2, clocks)
        stepper.warm_up()
        samples: list[float] = []
        until_s = clocks.wall() + budget_s
        while len(samples) < LEAST or (clocks.wall() < until_s and len(samples) < MOST):
            samples.append(stepper.plain_step())
    return timing(samples)
