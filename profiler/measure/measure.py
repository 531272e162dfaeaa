"""Measure a model on one core: the order in which everything about it is measured."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import replace

from profiler.capture import captured_model, minibatch, refuse_unfaithful
from profiler.errors import CaptureError
from profiler.execution import Captured
from profiler.machine import blaming, claimed, expect_processes, pinned
from profiler.measure.assemble_profile import LayerMeasurements, Measured, MeasuredLower, PlainSteps, profile_of
from profiler.measure.copy_cost import measure_cast_cost, measure_copy_cost
from profiler.measure.count_work import count_work, refuse_other_work
from profiler.measure.memory import Memory, measure_memory
from profiler.measure.neighbours import REST_EVERY, Neighbours, busy_neighbours
from profiler.measure.stepper import Clocks, Stepper, stepper_for
from profiler.measure.yardstick import plain_steps
from profiler.profile import BF16_FORM, FP32, PLAIN_FORM, Form, Profile, Timing
from profiler.rounds import Samples, spend, timing
from profiler.settings import Config

LEAST_STEPS = 7


def measure_profile(
    config: Config,
    captured: Captured,
    cores: Sequence[int],
    advance: Callable[[float], None],
    *,
    budget_s: float | None = None,
    clocks: Clocks = Clocks(),  # noqa: B008 - it is frozen
) -> Profile:
    """Profile a captured model.

    Args:
        config: Model, batch size, input and update rule; the precision, for layers are measured in bfloat16, too, where
            that is not ``fp32``.
        captured: The model in float32, as ``captured_model`` gives it.
        cores: The core to measure on, and those on which neighbours train meanwhile.
        advance: Called with shares of the work done that add up to 1, for a progress bar.
        budget_s: How long to run rounds; None: for the usual time, and until there are enough of them.
        clocks: Where times are read.
    """
    core, *others = cores
    expect_processes(measure_memory.__module__)
    check_s = _check(config, captured, core, clocks)
    affinity = tuple(sorted(os.sched_getaffinity(0)))
    memory = _memory(config, captured, core, PLAIN_FORM)
    lower_memory = _memory(config, captured, core, BF16_FORM) if config.precision != FP32 else None
    beside_us = busy_neighbours(config, others) if others else nullcontext()
    with claimed(cores), pinned(core), beside_us as beside, blaming(config.name), redirect_stdout(sys.stderr):
        if beside:
            beside.run(len(beside))
        copy_cost, full = measure_copy_cost(clocks.wall), _Subject(config, captured, clocks)
        lower, cast_cost = None, None
        if config.precision != FP32:
            lower = _Subject(config, captured_model(config, BF16_FORM), clocks)
            cast_cost = measure_cast_cost(clocks.wall)
        rounds = _Rounds(full.stepper, lower.stepper if lower else None, beside)
        spend(rounds.take, full.stepper.samples, budget_s, clocks.wall, advance, stages=config.stages)
    measured = Measured(
        config=config,
        captured=captured,
        core=core,
        affinity=affinity,
        copy_cost=copy_cost,
        memory=memory,
        layers=full.measurements(memory, rounds.alone),
        plain=rounds.plain,
        check_s=check_s,
        lower=MeasuredLower(
            captured=lower.stepper.captured,
            memory=lower_memory,
            layers=lower.measurements(lower_memory, rounds.lower_alone),
            plain_s=rounds.lower_plain_s,
            cast_cost=cast_cost,
        )
        if lower and cast_cost
        else None,
    )
    return profile_of(measured)


def _check(config: Config, captured: Captured, core: int, clocks: Clocks) -> float:
    """Hold the captured layers against their model, and return how long that took."""
    begun_s = clocks.wall()
    with pinned(core), blaming(config.name), redirect_stdout(sys.stderr):
        refuse_unfaithful(captured, *minibatch(config, captured))
    return clocks.wall() - begun_s


def _memory(config: Config, captured: Captured, core: int, form: Form) -> Memory | None:
    memory = measure_memory(config, core, form)
    if memory and memory.digest != captured.digest:
        raise CaptureError(
            f"model '{config.name}' has other layers when it is built again in another process "
            f"({len(captured.operations)} here, {len(memory.transient_bytes)} there); let its factory build the same "
            "model each time"
        )
    return memory


class _Subject:
    """A model in one precision, with all that is measured of it once; its rounds are taken elsewhere."""

    def __init__(self, config: Config, captured: Captured, clocks: Clocks) -> None:
        # With a learning rate of 0 the update does all its work and the weights stay: they would soon fit the one
        # minibatch by heart, and layers whose time depends on the data, such as max pooling, would drift.
        self.stepper = stepper_for(
            captured, minibatch(config, captured), replace(config.rule, lr=0.0), slots=2, clocks=clocks
        )
        self.stepper.versions.place_gradients(self.stepper.segment.placeable, fused=True)  # as a stage does
        refuse_other_work(self.stepper)
        self._counts = count_work(self.stepper)
        self.stepper.warm_up()
        self._in_place_shares, self._accumulation_s = self.stepper.in_place_shares(), self.stepper.accumulation_s()
        self._casting_s = self.stepper.casting_s()

    def measurements(self, memory: Memory | None, alone: Samples) -> LayerMeasurements:
        return LayerMeasurements(
            samples=self.stepper.samples,
            alone=alone,
            counts=self._counts,
            in_place_shares=self._in_place_shares,
            accumulation_s=self._accumulation_s,
            casting_s=self._casting_s,
            transient_bytes=memory.transient_bytes if memory else None,
        )


class _Rounds:
    """Rounds of a model in float32 and, if it is there, in bfloat16 in turn, so that a drift meets both.

    They are taken beside all neighbours; before some, these rest for a round beside none, and for plain steps beside
    one of them, beside two, and so on.
    """

    def __init__(self, full: Stepper, lower: Stepper | None, beside: Neighbours | None) -> None:
        self._full, self._lower, self._beside = full, lower, beside
        self.alone, self.lower_alone = Samples(), Samples()
        self.plain = PlainSteps([[] for _ in range(len(beside))] if beside else [], full.samples.whole_step)
        self.lower_plain_s: list[float] = [] if beside or not lower else lower.samples.whole_step

    def take(self) -> None:
        if self._beside and len(self._full.samples.whole_step) % REST_EVERY == 0:
            self._rest(self._beside)
        self._full.round()
        if self._lower:
            self._lower.round()

    def _rest(self, beside: Neighbours) -> None:
        for count, times_s in enumerate(self.plain.fewer_s):
            beside.run(count)
            if count:
                times_s.append(self._full.plain_step())
                continue
            self._full.take(self.alone)
            times_s.append(self.alone.whole_step[-1])
            if self._lower:
                self._lower.take(self.lower_alone)
                self.lower_plain_s.append(self.lower_alone.whole_step[-1])
        beside.run(len(beside))


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
    """
    with pinned(core), blaming(config.name), redirect_stdout(sys.stderr):
        stepper = stepper_for(captured, minibatch(config, captured), replace(config.rule, lr=0.0), 2, clocks)
        stepper.warm_up()
        return timing(plain_steps(stepper, LEAST_STEPS, budget_s))
