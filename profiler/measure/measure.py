"""Measure a model on one core: the order in which everything about it is measured."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from functools import partial

from profiler.capture import captured_model, minibatch, refuse_unfaithful
from profiler.errors import CaptureError
from profiler.execution import Captured
from profiler.machine import blaming, expect_processes, pinned
from profiler.measure.assemble_profile import measure_copy_cost, profile_of
from profiler.measure.memory import Memory, peak_measured, saved_bytes
from profiler.measure.neighbours import busy_neighbours
from profiler.measure.round_timer import RoundTimer
from profiler.measure.stepper import stepper_for
from profiler.profile import PLAIN_FORM, Profile
from profiler.rounds import spend
from profiler.settings import Config


def measure_profile(
    config: Config,
    captured: Captured,
    cores: Sequence[int],
    advance: Callable[[float], None],
    *,
    budget_s: float | None = None,
) -> Profile:
    """Profile a captured model.

    Args:
        config: Model, batch size, input and update rule.
        captured: The model, in the form that is to be profiled.
        cores: The core to measure on, and those on which neighbours train meanwhile.
        advance: Called with shares of the work done that add up to 1, for a progress bar.
        budget_s: How long to run rounds; None: until a plan is known, for the usual time at most.
    """
    core, *others = cores
    expect_processes()
    here = partial(_measuring, config.name, core)
    with peak_measured(config, cores[-1], captured.form) as process, here():  # while what takes no times is done
        _check(config, captured)
        # With a learning rate of 0 the update does all its work and the weights stay: they would soon fit the one
        # minibatch by heart, and layers whose time depends on the data, such as max pooling, would drift.
        stepper = stepper_for(captured, minibatch(config, captured), replace(config.rule, lr=0.0), slots=2)
        stepper.versions.place_gradients(stepper.segment.placeable)  # as a stage does
        saved = saved_bytes(stepper.segment, stepper.versions, stepper.received())
        memory: Memory | None = process.receive()
    _refuse_other_layers(captured, memory)
    with here(), busy_neighbours(config, captured.form, others) as tell:
        tell("run")
        copy_cost = measure_copy_cost()
        rounds = RoundTimer(stepper, len(others), tell)
        spend(rounds.take, rounds.samples, budget_s, time.perf_counter, advance, stages=config.stages)
    return profile_of(config, captured, core, rounds, saved=saved, memory=memory, copy_cost=copy_cost)


@contextmanager
def _measuring(model: str, core: int) -> Iterator[None]:
    """Be on a core, blame the model for what is raised, and keep what it prints from results."""
    with pinned(core), blaming(model), redirect_stdout(sys.stderr):
        yield


def _check(config: Config, captured: Captured) -> None:
    """Hold the layers, as they are without slices and in float32, against their model."""
    plain = captured if captured.form == PLAIN_FORM else captured_model(config)
    refuse_unfaithful(plain, *minibatch(config, plain))


def _refuse_other_layers(captured: Captured, memory: Memory | None) -> None:
    """Refuse a model that had other layers where its memory was measured."""
    if memory and memory.digest != captured.digest:
        raise CaptureError(
            f"model '{captured.name}' has other layers when it is built again in another process "
            f"({len(captured.operations)} here, {memory.layers} there); let its factory build the same "
            "model each time"
        )
