"""Train with plain PyTorch, in one process with a thread for each core, which a user would run instead, and time that.

With the process settings that our stages have, channels last and a fused update, for that is faster than torch's
defaults. The process is started for each run and ended after it, so that it takes part in nobody's memory.
"""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from multiprocessing.connection import Connection
from typing import Literal

import torch

from profiler.capture import SEED, from_file, inputs_of, models
from profiler.execution import ONE_TENSOR, CrossEntropy, autocasting, cross_entropy
from profiler.machine import blaming, helper, pin
from profiler.profile import FP32
from profiler.settings import Config

START_S = 120.0
"""How long starting and warming up may take where nothing is known."""
GENEROSITY = 20.0
WARM_UP_UPDATES, LEAST_UPDATES = 2, 4
STEADY_S = 2.0
"""For how long updates are repeated."""


def why_left_out(config: Config, cores: Collection[int], data: str) -> str:
    """Say why plain PyTorch does not run beside a comparison, if that is so.

    Args:
        config: The model, its loss and its update rule.
        cores: The distinct cores that there are.
        data: The loader that the comparison trains from; nothing for synthetic data.
    """
    if len(cores) == 1:
        return "Plain PyTorch is left out: there is one core, and one core is in every comparison."
    if data:
        return "Plain PyTorch is left out: it trains on synthetic data, and --data was given."
    if config.loss or config.rule.clip or config.rule.clip_norm:
        return "Plain PyTorch is left out: it trains for cross-entropy and clips no gradients."
    return ""


def run_baseline(
    config: Config,
    cores: Sequence[int],
    update_every: int,
    *,
    step_s: float,
    precision: Literal["fp32", "bf16"],
) -> float:
    """Train in one process for a few seconds, and return its samples per second.

    Args:
        config: Model, minibatch and update rule.
        cores: Where it runs, with a thread for each.
        update_every: How many minibatches an update takes.
        step_s: What a minibatch takes on one core, for how long to wait.
        precision: ``fp32``, or ``bf16`` under torch's autocast.
    """
    updates = WARM_UP_UPDATES + LEAST_UPDATES
    with helper(_timed, config, tuple(cores), update_every, precision) as process:
        speed: float = process.receive(START_S + GENEROSITY * (STEADY_S + updates * update_every * step_s))
    return speed


def _timed(_connection: Connection, config: Config, cores: tuple[int, ...], update_every: int, precision: str) -> float:
    """Train, and return the samples per second."""
    pin(*cores)
    with blaming(config.name):
        step, updates = training(config, update_every, precision), 0
        for _ in range(WARM_UP_UPDATES):
            step()
        start_s = time.perf_counter()
        while updates < LEAST_UPDATES or time.perf_counter() < start_s + STEADY_S:
            step()
            updates += 1
    return updates * update_every * config.batch_size / (time.perf_counter() - start_s)


def training(config: Config, update_every: int, precision: str) -> Callable[[], None]:
    """Return what makes one update; images and convolutions have their channels last."""
    live = from_file(config.model)
    model = live.model if live else models.build(config.model, config.classes, SEED)
    generator = torch.Generator().manual_seed(SEED)
    made = inputs_of(config.input_shape, config.vocabulary, generator)
    model.to(memory_format=torch.channels_last)
    called, loss = (live.called, live.loss) if live else (ONE_TENSOR, cross_entropy)
    if called.packed and live:
        made = live.inputs
    with torch.no_grad():
        shape = loss.heads(called.call(model, made))[0].shape
    drawn = shape[:-1] if isinstance(loss, CrossEntropy) else (config.batch_size,)
    labels = torch.randint(shape[-1] if shape else 2, tuple(drawn), generator=generator)
    name, arguments = config.rule.torch_optim
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    rule = getattr(torch.optim, name)(learning, **arguments, fused=True)

    def step() -> None:
        rule.zero_grad()
        for _ in range(update_every):
            with nullcontext() if precision == FP32 else autocasting():
                returned = called.call(model, made)
            torch.autograd.backward(loss.of(returned, labels) / update_every)
        rule.step()

    return step
