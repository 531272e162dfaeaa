"""The process of a baseline: train the plain way, and say on stdout how many samples a second that made."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext

import msgspec
import torch

from profiler.capture import from_file, inputs_of, models
from profiler.execution import ONE_TENSOR, CrossEntropy, autocasting, cross_entropy
from profiler.machine import pin, tie_to
from profiler.profile import FP32
from runtime.baselines.baselines import WARM_UP_UPDATES, Spec


def main() -> None:
    """Read what to train from stdin, and train."""
    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=Spec)
    if not tie_to(spec.parent):
        return
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what user code prints is no result
    pin(*spec.cores)
    step = training(spec)
    updates = max(1, round(spec.config.minibatches() / spec.update_every))
    for _ in range(WARM_UP_UPDATES):
        step()
    start_s = time.perf_counter()
    for _ in range(updates):
        step()
    samples = updates * spec.update_every * spec.config.batch_size
    print(samples / (time.perf_counter() - start_s), file=results, flush=True)


def training(spec: Spec) -> Callable[[], None]:
    """Return what makes one update; images and convolutions have their channels last."""
    config = spec.config
    live = from_file(config.model)
    model = live.model if live else models.build(config.model, config.classes, spec.seed)
    generator = torch.Generator().manual_seed(spec.seed)
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
        for _ in range(spec.update_every):
            with nullcontext() if spec.precision == FP32 else autocasting():
                returned = called.call(model, made)
            torch.autograd.backward(loss.of(returned, labels) / spec.update_every)
        rule.step()

    return step


if __name__ == "__main__":
    main()
