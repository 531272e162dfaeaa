"""Measure a model on one core and assemble its profile."""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import psutil
import torch

from profiler import models
from profiler.budget import Budget, precision, spend
from profiler.capture import capture
from profiler.config import Config
from profiler.errors import CaptureError, ModelError, one_line
from profiler.footprint import Footprint, footprint
from profiler.inputs import inputs
from profiler.link import measure_link
from profiler.operations import Captured
from profiler.process import machine
from profiler.rounds import LOSS, Clocks, Samples, Stepper
from profiler.segment import whole
from profiler.statistics import drift, foreign_load, timing
from profiler.types import INPUT, Layer, Link, Loss, Profile
from profiler.update import UpdateRule
from profiler.versions import WeightVersions

SEED = 0


def captured_model(config: Config) -> Captured:
    """Build and capture the model that ``config`` names.

    Raises:
        ModelError: It cannot be built.
        CaptureError: It cannot be captured.
    """
    needed, free = 4 * math.prod(config.input_shape), psutil.virtual_memory().available
    if needed > free:
        raise ModelError(
            f"one minibatch of shape {config.input_shape} takes {needed >> 20} MiB and {free >> 20} MiB of memory are "
            "free; use a smaller --batch-size or --image-size"
        )
    model = models.build(config.model, config.classes, SEED)
    return capture(model, config.model, inputs(config.input_shape, config.vocabulary, torch.Generator()))


class Interrupted(KeyboardInterrupt):
    """Measuring was interrupted; ``partial`` is the profile of the rounds so far, or None."""

    def __init__(self, partial: Profile | None) -> None:
        """Keep what there is."""
        super().__init__()
        self.partial = partial


def measure(
    config: Config,
    captured: Captured,
    advance: Callable[[float], None],
    budget: Budget = Budget(),  # noqa: B008 - it is frozen
    clocks: Clocks = Clocks(),  # noqa: B008 - it is frozen
) -> Profile:
    """Profile a captured model; the process has to be settled.

    Args:
        config: Model, batch size, image size, classes and update rule.
        captured: The model, as ``captured_model`` gives it.
        advance: Called with shares of the work done that add up to 1, for a progress bar.
        budget: How long to run rounds.
        clocks: Where times are read.

    Raises:
        CaptureError: A layer raises in its backward.
        Interrupted: Ctrl-C was pressed while measuring.
    """
    segment = whole(captured)
    state = dict(captured.model.named_parameters()) | dict(captured.model.named_buffers())
    versions = WeightVersions(
        segment.places, segment.parameters, state, depth=2, rule=UpdateRule(config.lr, config.momentum)
    )
    generator = torch.Generator().manual_seed(SEED)
    images = inputs(config.input_shape, config.vocabulary, generator)
    prints = footprint(segment, versions, images)
    labels = torch.randint(captured.classes, (config.batch_size,), generator=generator)
    stepper = Stepper(captured, segment, versions, (images, labels), clocks)
    link = measure_link(clocks.wall)
    try:
        spend(stepper, budget, clocks.wall, advance)
    except KeyboardInterrupt as error:
        kept = bool(stepper.samples.whole_step)
        partial = _profile(config, captured, prints, stepper.samples, link) if kept else None
        raise Interrupted(replace(partial, complete=False) if partial else None) from error
    except RuntimeError as error:
        raise CaptureError(
            f"model '{config.model}' raised in its training step: {one_line(error)}; train it uncut to find the cause"
        ) from error
    return _profile(config, captured, prints, stepper.samples, link)


def _profile(config: Config, captured: Captured, prints: Footprint, samples: Samples, link: Link) -> Profile:
    layers = tuple(_layer(captured, position, prints, samples) for position in range(len(captured.operations)))
    forward, backward = timing(samples.forward[LOSS]), timing(samples.backward[LOSS])
    loss = Loss(forward_s=forward.median_s, backward_s=backward.median_s, forward=forward, backward=backward)
    parts_s = sum(layer.forward_s + layer.backward_s + layer.update_s for layer in layers)
    parts_s += loss.forward_s + loss.backward_s
    whole_step = timing(samples.whole_step)
    return Profile(
        model=config.model,
        model_digest=captured.digest,
        batch_size=config.batch_size,
        input_shape=config.input_shape,
        classes=captured.classes,
        vocabulary=config.vocabulary,
        momentum=config.momentum,
        machine=machine(),
        layers=layers,
        edges=captured.edges,
        together=captured.together,
        outputs=captured.outputs,
        loss=loss,
        link=link,
        input_bytes=captured.specs[INPUT].bytes,
        whole_step_s=whole_step.median_s,
        whole_step=whole_step,
        closure_error=(parts_s - whole_step.median_s) / whole_step.median_s,
        rounds=len(samples.whole_step),
        precision=precision(samples),
        drift=drift(samples.whole_step),
        foreign_load=foreign_load(samples.whole_step, samples.whole_step_cpu),
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
