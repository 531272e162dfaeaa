"""Let torch load and set up now what it puts off to first use, so that it is no layer's memory or time."""

import torch
import torch.fx.experimental.symbolic_shapes  # a backward from given gradients would, with 480 modules and 35 MiB
from torch import nn

_BATCH, _CLASSES = 2, 4


def use_torch_once() -> None:
    """Run a tiny network forwards and backwards: kernels, autograd, and the modules that a backward imports.

    The pages of kernels are some 20 MiB.
    """
    generator = torch.random.get_rng_state()
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Dropout(), nn.Linear(32, _CLASSES),
    ).to(memory_format=torch.channels_last)  # fmt: skip
    images = torch.ones(_BATCH, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    outputs = network(images)
    loss = nn.functional.cross_entropy(outputs, torch.arange(_BATCH))
    torch.autograd.backward([loss], [torch.ones_like(loss)])
    torch.random.set_rng_state(generator)
