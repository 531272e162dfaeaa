"""What a minibatch that stages work on is to its update, as it travels beside its targets."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Share:
    """What a minibatch is to its update, or a part of one that was cut.

    Attributes:
        weight: What its loss counts in the update.
        minibatch: Its number, or that of the minibatch that it is a part of, as the user counts.
        part: Which part of that it is.
    """

    weight: float
    minibatch: int
    part: float

    @property
    def tensor(self) -> Tensor:
        """The three numbers, as they travel."""
        return torch.tensor([self.weight, self.minibatch, self.part], dtype=torch.float64)

    @classmethod
    def of(cls, tensor: Tensor) -> "Share":
        """Return what ``tensor`` says."""
        weight, minibatch, part = tensor.tolist()
        return cls(weight, int(minibatch), part)
