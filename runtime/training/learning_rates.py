"""Learning rates as functions of how many updates there have been: constant, in steps, by a cosine; with a warm-up."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from msgspec import Meta

from profiler.capture import refuse_unsendable
from profiler.errors import ConfigError, one_line
from profiler.python_arguments import AboveZero, Count, Hint, NotNegative, fitting, refuse_odd_fields, show_plainly
from profiler.settings import Config, LearningRate

_REMEDY = "write learning_rate=0.1, stageplan.Cosine(lr=0.1, updates=1000), or a function of the count of updates"
Rates = Annotated[LearningRate | NotNegative | None, Hint(_REMEDY)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """``lr``, reached from 0 in equal steps over the first ``warmup`` updates."""

    lr: Annotated[NotNegative, Hint("write lr=0.1, say")] = field(kw_only=False)
    warmup: Annotated[int, Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        """Refuse numbers that are out of bounds."""
        refuse_odd_fields(self)

    def __call__(self, updates: int) -> float:
        """Return the learning rate of the update after so many."""
        return self.lr * min(1.0, (updates + 1) / self.warmup) if self.warmup else self.lr


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps(Constant):
    """As ``Constant``, times ``factor`` once more after every ``every`` updates."""

    every: Annotated[Count, Hint("write every=1000, say")]
    factor: AboveZero = 0.1

    def __call__(self, updates: int) -> float:
        """Return the learning rate of the update after so many."""
        return Constant.__call__(self, updates) * self.factor ** (updates // self.every)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosine(Constant):
    """As ``Constant`` in the warm-up, then half a cosine down to 0, over ``updates`` updates in all.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, without restarts.
    """

    updates: Annotated[Count, Hint("write updates=1000, say")]

    def __call__(self, updates: int) -> float:
        """Return the learning rate of the update after so many."""
        share = (updates - self.warmup) / max(1, self.updates - self.warmup)
        return Constant.__call__(self, updates) * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, share))))


for _rates in (Constant, Steps, Cosine):
    show_plainly(_rates.__init__)


@dataclass(frozen=True, slots=True)
class Checked:
    """A user's function of the learning rate, each of whose values is checked where an update asks for it."""

    rates: Callable[[int], Any]

    def __call__(self, updates: int) -> float:
        """Return the learning rate of the update after so many."""
        called = f"{getattr(self.rates, '__name__', type(self.rates).__name__)}({updates})"
        name = f"{called}, the learning rate of update {updates},"
        try:
            rate = self.rates(updates)
        except Exception as error:
            raise ConfigError(f"{name} raised {type(error).__name__}: {one_line(error)}; {_REMEDY}") from error
        hint = Hint("return such a number for every count of updates")
        return float(fitting(name, rate, Annotated[NotNegative, hint]))


def learning_rate_of(rates: Callable[[int], float] | float | None) -> LearningRate | None:
    """Return learning rates as a function of how many updates there have been: a number is the same for all."""
    if rates is None:
        return None
    checked = Checked(rates if callable(rates) else Constant(rates))
    refuse_unsendable(checked.rates, "the learning rate")
    checked(0)
    return checked


def configured_rates(config: Config) -> Constant | None:
    """Return a configuration's learning rates over time: warm-up and decay; None where the rate never changes."""
    if config.decay == "cosine":
        return Cosine(lr=config.lr, warmup=config.warmup, updates=config.decay_updates)
    if config.decay == "steps":
        return Steps(lr=config.lr, warmup=config.warmup, every=config.decay_updates, factor=config.decay_factor)
    return Constant(lr=config.lr, warmup=config.warmup) if config.warmup else None
