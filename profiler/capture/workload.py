"""Build what is measured and trained: the model that a configuration names, captured, and its minibatch."""

import contextlib
import math
import sys

import torch
from torch import Tensor

from profiler.capture import models
from profiler.capture.forms import sliced_model
from profiler.capture.inputs import inputs_of, laid_out
from profiler.capture.layer_graph import capture
from profiler.capture.least_memory import FEW, refuse_more_than_free, refuse_too_large
from profiler.capture.live import captured_live, from_file
from profiler.errors import ModelError, one_line
from profiler.execution import Captured, Loss, OwnLoss, cross_entropy
from profiler.profile import PLAIN_FORM, Form
from profiler.settings import Config

SEED = 0


def captured_model(
    config: Config,
    form: Form = PLAIN_FORM,
    *,
    trained: bool = False,
) -> Captured:
    """Build and capture the model that ``config`` names, in a form.

    Args:
        config: The model and its minibatch.
        form: Which layers are cut inside, and which run in bfloat16.
        trained: Whether the whole model is then trained in this process, whose memory has to hold a step.

    Raises:
        ModelError: It cannot be built, or memory does not hold it with its minibatch.
        ConfigError: It cannot be cut like that.
        CaptureError: It cannot be captured.
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
        if trained:
            few = inputs_of((FEW, *config.input_shape[1:]), config.vocabulary, torch.Generator())
            refuse_too_large(model, few, config)
        loss: Loss = OwnLoss(models.find(config.loss)) if config.loss else cross_entropy
        sample = inputs_of(config.input_shape, config.vocabulary, torch.Generator())
        captured = capture(model, config.name, sample, loss, precision=form.precision)
    return sliced_model(captured, form.slicing)


def minibatch(config: Config, captured: Captured) -> tuple[Tensor, Tensor]:
    """Return the inputs and labels that a profile is measured on."""
    generator = torch.Generator().manual_seed(SEED)
    live = from_file(config.model)
    if live:
        inputs, targets = laid_out(live.inputs), live.targets
    elif config.loss and config.data:
        inputs, targets = _first_pair(config)
    else:
        inputs, targets = inputs_of(config.input_shape, config.vocabulary, generator), None
    if targets is None:
        targets = torch.randint(captured.classes, captured.labels, generator=generator)
    return inputs, targets


def _first_pair(config: Config) -> tuple[Tensor, Tensor]:
    """Return the first minibatch of the user's data, for a loss of one's own need not know what labels are.

    Raises:
        ModelError: There is none of the size that is to be measured.
    """
    source = models.made(config.data, SEED)
    try:
        inputs, targets = next(iter(source[0] if isinstance(source, tuple) else source))
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
