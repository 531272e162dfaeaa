"""Measure a model on one core: the order in which everything about it is measured."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import replace

from profiler.capture import minibatch
from profiler.errors import CaptureError, blaming
from profiler.execution import Captured
from profiler.machine import pinned
from profiler.measure.assemble_profile import LayerMeasurements, Measured, profile_of
from profiler.measure.count_work import count_work, refuse_other_work
from profiler.measure.hardware import measure_copy_cost, measure_peaks
from profiler.measure.memory import measure_memory
from profiler.measure.neighbours import Turns, busy_neighbours
from profiler.measure.statistics import timing
from profiler.measure.stepper import Clocks, Samples, stepper_for
from profiler.measure.time_budget import spend
from profiler.measure.yardstick import plain_steps
from profiler.profile import Profile, Timing
from profiler.settings import Config

BUDGET_S = 30.0
"""How long rounds are run where nothing else is said."""


def measure_profile(
    config: Config,
    captured: Captured,
    cores: Sequence[int],
    advance: Callable[[float], None],
    *,
    budget_s: float = BUDGET_S,
    clocks: Clocks = Clocks(),  # noqa: B008 - it is frozen
) -> Profile:
    """Profile a captured model.

    Args:
        config: Model, batch size, input and update rule.
        captured: The model, as ``captured_model`` gives it.
        cores: The core to measure on, and those on which neighbours train meanwhile.
        advance: Called with shares of the work done that add up to 1, for a progress bar.
        budget_s: How long to run rounds.
        clocks: Where times are read.

    Raises:
        CaptureError: A layer raises in its backward.
        ProcessError: A helping process ended, most likely for want of memory.
    """
    core, *others = cores
    affinity = tuple(sorted(os.sched_getaffinity(0)))
    memory = measure_memory(config, core)
    if memory and len(memory.transient_bytes) != len(captured.operations):
        raise CaptureError(
            f"model '{config.model}' has {len(captured.operations)} layers and, built again in another process, "
            f"{len(memory.transient_bytes)}; let its factory build the same model each time"
        )
    beside_us = busy_neighbours(config, others) if others else nullcontext()
    with pinned(core), beside_us as beside, blaming(config.model), redirect_stdout(sys.stderr):
        # With a learning rate of 0 the update does all its work and the weights stay: they would soon fit the one
        # minibatch by heart, and layers whose time depends on the data, such as max pooling, would drift.
        stepper = stepper_for(
            captured, minibatch(config, captured), replace(config.rule, lr=0.0), slots=2, clocks=clocks
        )
        stepper.versions.place_gradients(stepper.segment.placeable, fused=True)  # as a stage does
        turns = Turns(stepper, beside) if beside else None
        copy_cost, peaks = measure_copy_cost(clocks.wall), measure_peaks(clocks.wall)
        refuse_other_work(stepper)
        counts = count_work(stepper)
        stepper.warm_up()
        in_place_shares, accumulation_s = stepper.in_place_shares(), stepper.accumulation_s()
        measured = Measured(
            config=config,
            captured=captured,
            core=core,
            affinity=affinity,
            copy_cost=copy_cost,
            peaks=peaks,
            memory=memory,
            layers=LayerMeasurements(
                samples=stepper.samples,
                counts=counts,
                in_place_shares=in_place_shares,
                accumulation_s=accumulation_s,
                transient_bytes=memory.transient_bytes if memory else None,
                loaded=turns.loaded if turns else Samples(),
            ),
            neighbours=len(others),
        )
        spend((turns or stepper).round, stepper.samples, budget_s, clocks.wall, advance)
    return profile_of(measured)


LEAST_STEPS = 7


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
    with pinned(core), blaming(config.model), redirect_stdout(sys.stderr):
        stepper = stepper_for(captured, minibatch(config, captured), replace(config.rule, lr=0.0), 2, clocks)
        stepper.warm_up()
        return timing(plain_steps(stepper, LEAST_STEPS, budget_s))
