"""Build what is measured and trained: the model that a configuration names, captured, and its minibatch."""

import contextlib
import inspect
import math
import sys
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from profiler.capture import models
from profiler.capture.inputs import inputs_of, laid_out
from profiler.capture.layer_graph import capture
from profiler.capture.least_memory import FEW, refuse_more_than_free, refuse_too_large
from profiler.capture.live import MODEL_LOSS, captured_live, from_file, pair_of
from profiler.capture.slice_model import sliced_model
from profiler.errors import ModelError, one_line
from profiler.execution import ONE_TENSOR, Captured, Inputs, Loss, OwnLoss, cross_entropy, inputs_like, model_loss
from profiler.profile import PLAIN_FORM, Form
from profiler.settings import Config

SEED = 0


@dataclass(frozen=True, slots=True)
class FirstBatch:
    """The first minibatch of data for a model of several inputs.

    Attributes:
        sample: Its inputs, packed, ``(N, bytes)``.
        targets: None where they are among the inputs.
    """

    called: Inputs
    sample: Tensor
    targets: Tensor | None
    given: Any


def captured_model(
    config: Config,
    form: Form = PLAIN_FORM,
    *,
    trained: bool = False,
) -> Captured:
    """Build and capture the model that ``config`` names, in a form.

    Args:
        config: The model and its minibatch.
        form: Which layers are cut inside, and in which precision all run.
        trained: Whether the whole model is then trained in this process, whose memory has to hold a step.
    """
    if live := from_file(config.model):
        if trained:
            refuse_too_large(live.model, live.inputs[:FEW], config, live.called)
        return captured_live(live, form)
    inputs_bytes = (8 if config.vocabulary else 4) * math.prod(config.input_shape)
    refuse_more_than_free(f"one minibatch of shape {config.input_shape}", inputs_bytes)
    with contextlib.redirect_stdout(sys.stderr):
        model = models.build(config.model, config.classes, SEED)
        model.to(memory_format=torch.channels_last)  # of the weights of its convolutions; as ``laid_out`` does images
    with contextlib.redirect_stdout(sys.stderr):  # a model's own prints are no results
        first = several_inputs(config, model)
        called = first.called if first else ONE_TENSOR
        sample = first.sample if first else inputs_of(config.input_shape, config.vocabulary, torch.Generator())
        if trained:
            refuse_too_large(model, sample[torch.arange(FEW) % len(sample)], config, called)
        captured = capture(model, config.name, sample, loss_of(config), precision=form.precision, inputs=called)
    return sliced_model(captured, form.slicing)


def loss_of(config: Config) -> Loss:
    """Return what a configuration's model is trained for."""
    if config.loss == MODEL_LOSS:
        return OwnLoss(model_loss)
    return OwnLoss(models.find(config.loss)) if config.loss else cross_entropy


def as_fed(config: Config) -> Config:
    """Return a configuration with the samples that its data have, where its model takes several inputs."""
    if not config.data or ":" not in config.model:
        return config
    with contextlib.redirect_stdout(sys.stderr):
        first = several_inputs(config, models.build(config.model, config.classes, SEED))
    return replace(config, sample_shape=tuple(first.sample.shape[1:]), vocabulary=0) if first else config


def _first_batch(config: Config) -> Any:
    """Return the first minibatch of the user's data."""
    source = models.made(config.data, SEED)
    try:
        return next(iter(source[0] if isinstance(source, tuple) else source))
    except Exception as error:
        raise ModelError(
            f"the data of '{config.data}' have no first minibatch to measure with: {type(error).__name__}: "
            f"{one_line(error)}"
        ) from error


def several_inputs(config: Config, model: nn.Module) -> FirstBatch | None:
    """Return the first minibatch of the user's data where the model takes several inputs; None with one tensor."""
    takes = inspect.signature(model.forward).parameters
    if not config.data or (len(takes) == 1 and config.loss != MODEL_LOSS):
        return None
    batch = _first_batch(config)
    given, targets = pair_of(batch)
    if isinstance(given, Tensor):
        return None
    called = inputs_like(model, given)
    sample = called.pack(given)
    if len(sample) != config.batch_size:
        raise ModelError(
            f"the first minibatch of '{config.data}' has {len(sample)} samples and {config.batch_size} are to be "
            "measured; set --batch-size to match"
        )
    return FirstBatch(called, sample, targets, batch)


def minibatch(config: Config, captured: Captured) -> tuple[Tensor, Tensor]:
    """Return the inputs and labels that a profile is measured on."""
    generator = torch.Generator().manual_seed(SEED)
    live = from_file(config.model)
    if live:
        inputs, targets = laid_out(live.inputs), live.targets
    elif captured.sample is not None:
        first = several_inputs(config, captured.model)
        inputs, targets = captured.sample, first.targets if first else None
    elif config.loss and config.data:
        inputs, targets = _first_pair(config)
    else:
        inputs, targets = inputs_of(config.input_shape, config.vocabulary, generator), None
    if targets is None:
        targets = torch.randint(captured.classes, captured.labels, generator=generator)
    return inputs, targets


def _first_pair(config: Config) -> tuple[Tensor, Tensor]:
    """Return the first minibatch of the user's data, for a loss of one's own need not know what labels are."""
    batch = _first_batch(config)
    try:
        inputs, targets = batch
        fits = tuple(inputs.shape) == config.input_shape
    except Exception as error:
        raise ModelError(
            f"the data of '{config.data}' have no first pair of tensors to measure with: {type(error).__name__}: "
            f"{one_line(error)}"
        ) from error
    if not fits:
        raise ModelError(
            f"the first inputs of '{config.data}' are {tuple(inputs.shape)} and {config.input_shape} is to be "
            "measured; set --batch-size and --image-size or --sample-shape to match"
        )
    return laid_out(inputs), targets
