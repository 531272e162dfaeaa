"""A small network, and scikit-learn's digits to train it on: 1,797 images of 8 × 8 pixels, which need no download."""

from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

BATCH_SIZE, TRAINING_IMAGES = 16, 1437


def network() -> nn.Module:
    """Return a network of two convolutions and two linear layers."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(1024, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def loaders(seed: int = 0) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return a loader to train on and one to validate on, of images (N, 1, 8, 8) and the digits they show."""
    images, digits = load_digits(return_X_y=True)
    inputs = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    targets = torch.tensor(digits)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))
    training, validation = order[:TRAINING_IMAGES], order[TRAINING_IMAGES:]
    return (
        DataLoader(TensorDataset(inputs[training], targets[training]), batch_size=BATCH_SIZE, shuffle=True),
        DataLoader(TensorDataset(inputs[validation], targets[validation]), batch_size=64),
    )


def sample() -> Tensor:
    """Return a minibatch of inputs."""
    return torch.rand(BATCH_SIZE, 1, 8, 8)
