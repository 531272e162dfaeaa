"""Data of the user's own, as ``--data loaders:name`` finds them: one that works, and one for each thing to refuse."""

import random
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from small_models import CLASSES, IMAGE_SIZE
from torch import Tensor

Pairs = Iterator[tuple[Tensor, Tensor]]


def samples(count: int) -> tuple[Tensor, Tensor]:
    return torch.randn(count, 3, IMAGE_SIZE, IMAGE_SIZE), torch.randint(CLASSES, (count,))


def dataset() -> torch.utils.data.DataLoader[Any]:
    """Eleven shuffled samples in minibatches of four: the last has three."""
    found = torch.utils.data.TensorDataset(*samples(11))
    return torch.utils.data.DataLoader(found, batch_size=4, shuffle=True)


def in_pairs() -> torch.utils.data.DataLoader[Any]:
    """Six shuffled samples in minibatches of two."""
    found = torch.utils.data.TensorDataset(*samples(6))
    return torch.utils.data.DataLoader(found, batch_size=2, shuffle=True)


def several_processes() -> torch.utils.data.DataLoader[Any]:
    found = torch.utils.data.TensorDataset(*samples(11))
    return torch.utils.data.DataLoader(found, batch_size=4, num_workers=1)


def talkative() -> Pairs:
    print("loading", flush=True)  # noqa: T201 - as users' code does
    while True:
        yield samples(4)


def augmented() -> Pairs:
    """Draws from every generator there is, as augmentation does."""
    while True:
        inputs, labels = samples(4)
        yield inputs * random.random() + float(np.random.rand()), labels  # noqa: NPY002, S311


def broken_from_the_third_on() -> Pairs:
    for minibatch in range(8):
        inputs, labels = samples(4)
        yield inputs * (float("nan") if minibatch >= 2 else 1.0), labels


def unseeded() -> Pairs:
    """In another order in every process."""
    drawn = np.random.default_rng()
    while True:
        inputs, labels = samples(4)
        yield inputs, (labels + int(drawn.integers(CLASSES))) % CLASSES


def raising() -> Pairs:
    yield samples(4)
    raise OSError("the disk is gone")


def fewer() -> Pairs:
    yield samples(3)


def training_and_validation() -> tuple[torch.utils.data.DataLoader[Any], list[tuple[Tensor, Tensor]]]:
    return dataset(), [samples(5)]


def once() -> tuple[Pairs, list[tuple[Tensor, Tensor]]]:
    return iter([samples(4), samples(4)]), [samples(5)]


class StuckAfterAnEpoch:
    """Hangs in its second epoch."""

    def __init__(self) -> None:
        self.epochs = 0

    def __iter__(self) -> Pairs:
        self.epochs += 1
        for _ in range(3):
            yield samples(4)
        if self.epochs > 1:
            threading.Event().wait()


def stuck_after_an_epoch() -> StuckAfterAnEpoch:
    return StuckAfterAnEpoch()


def regression() -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
    pairs = [(samples(4)[0], torch.randn(4, CLASSES)) for _ in range(3)]
    return pairs, pairs[:1]


def squared_error(output: Tensor, targets: Tensor) -> Tensor:
    return (output - targets).square().mean()


def batch_of_two_inputs(size: int, seed: int) -> dict[str, Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    return {
        "ids": torch.randint(10, (size, 6), generator=drawn),
        "table": torch.randn(size, 3, generator=drawn),
        "mask": torch.rand(size, 6, generator=drawn) > 0.3,
        "labels": torch.randint(5, (size,), generator=drawn),
    }


def two_inputs() -> list[dict[str, Tensor]]:
    """Minibatches as collators of hubs make them, of which the last is smaller."""
    return [batch_of_two_inputs(4 if number < 5 else 3, number) for number in range(6)]


def two_inputs_and_targets() -> list[tuple[dict[str, Tensor], Tensor]]:
    return [(own, own.pop("labels")) for own in two_inputs()]
