"""Learning rates as functions of how many updates there have been: constant, in steps, by a cosine; with a warm-up."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """``lr``, reached from 0 in equal steps over the first ``warmup`` updates."""

    lr: float
    warmup: int = 0

    def __call__(self, updates: int) -> float:
        """Return the learning rate of the update after so many."""
        return self.lr * min(1.0, (updates + 1) / self.warmup) if self.warmup else self.lr


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps(Constant):
    """As ``Constant``, times ``factor`` once more after every ``every`` updates."""

    every: int
    factor: float = 0.1

    def __call__(self, updates: int) -> float:
        """Return the learning rate of the update after so many."""
        return Constant.__call__(self, updates) * self.factor ** (updates // self.every)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosine(Constant):
    """As ``Constant`` in the warm-up, then half a cosine down to 0, over ``updates`` updates in all.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, without restarts.
    """

    updates: int

    def __call__(self, updates: int) -> float:
        """Return the learning rate of the update after so many."""
        share = (updates - self.warmup) / max(1, self.updates - self.warmup)
        return Constant.__call__(self, updates) * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, share))))
