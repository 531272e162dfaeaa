"""Measure a model on one core and assemble its profile."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import torch

from profiler import models
from profiler.capture import capture
from profiler.config import Config
from profiler.footprint import Footprint, footprint
from profiler.link import measure_link
from profiler.operations import Captured
from profiler.process import machine
from profiler.rounds import LOSS, WARM_UP_ROUNDS, Clock, Samples, Stepper
from profiler.segment import whole
from profiler.statistics import timing
from profiler.types import INPUT, Layer, Loss, Profile
from profiler.update import UpdateRule
from profiler.versions import WeightVersions

ROUNDS = 9
STEPS = WARM_UP_ROUNDS + ROUNDS
"""How often ``advance`` is called."""

SEED = 0


def captured_model(config: Config) -> Captured:
    """Build and capture the model that ``config`` names.

    Raises:
        ModelError: It cannot be built.
        CaptureError: It cannot be captured.
    """
    model = models.build(config.model, config.classes, SEED)
    return capture(model, config.model, torch.zeros(config.input_shape))


def measure(config: Config, advance: Callable[[], None], clock: Clock = time.perf_counter) -> Profile:
    """Profile the model that ``config`` names; the process has to be settled.

    Args:
        config: Model, batch size, image size, classes and update rule.
        advance: Called ``STEPS`` times, for a progress bar.
        clock: Seconds, monotonic.

    Raises:
        ModelError: The model cannot be built.
        CaptureError: The model cannot be captured.
    """
    captured = captured_model(config)
    segment = whole(captured)
    state = dict(captured.model.state_dict(keep_vars=True)) | dict(captured.model.named_parameters())
    state |= dict(captured.model.named_buffers())
    versions = WeightVersions(
        segment.places, segment.parameters, state, depth=2, rule=UpdateRule(config.lr, config.momentum)
    )
    generator = torch.Generator().manual_seed(SEED)
    images = torch.randn(config.input_shape, generator=generator)
    prints = footprint(segment, versions, images)
    classes = captured.specs[captured.output].shape[1]
    labels = torch.randint(classes, (config.batch_size,), generator=generator)
    stepper = Stepper(captured, segment, versions, (images, labels), clock)
    for _ in stepper.rounds(ROUNDS):
        advance()
    return _profile(config, captured, prints, stepper.samples, clock)


def _profile(config: Config, captured: Captured, prints: Footprint, samples: Samples, clock: Clock) -> Profile:
    layers = tuple(_layer(captured, position, prints, samples) for position in range(len(captured.operations)))
    loss = Loss(forward_s=timing(samples.forward[LOSS]).median_s, backward_s=timing(samples.backward[LOSS]).median_s)
    parts_s = sum(layer.forward_s + layer.backward_s + layer.update_s for layer in layers)
    parts_s += loss.forward_s + loss.backward_s
    whole_step = timing(samples.whole_step)
    return Profile(
        model=config.model,
        model_digest=captured.digest,
        batch_size=config.batch_size,
        input_shape=config.input_shape,
        classes=captured.specs[captured.output].shape[1],
        machine=machine(),
        layers=layers,
        edges=captured.edges,
        together=captured.together,
        loss=loss,
        link=measure_link(clock),
        input_bytes=captured.specs[INPUT].bytes,
        whole_step_s=whole_step.median_s,
        whole_step=whole_step,
        closure_error=(parts_s - whole_step.median_s) / whole_step.median_s,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _layer(captured: Captured, position: int, prints: Footprint, samples: Samples) -> Layer:
    operation = captured.operations[position]
    spec = captured.specs.get(operation.name)
    parameters = dict(captured.model.named_parameters())
    forward, backward = timing(samples.forward[position]), timing(samples.backward[position])
    update = timing(samples.update[position])
    return Layer(
        name=operation.name,
        kind=operation.kind,
        forward_s=forward.median_s,
        backward_s=backward.median_s,
        update_s=update.median_s,
        output_bytes=spec.bytes if spec else 0,
        gradient_bytes=spec.bytes if spec and spec.gradient else 0,
        parameter_bytes=sum(parameters[path].nbytes for path in captured.parameters[operation.name]),
        saved_bytes=prints.saved_bytes[position],
        flops=prints.flops[position],
        forward=forward,
        backward=backward,
        update=update,
    )
