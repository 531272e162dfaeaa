"""Notice that a loss leaves: that it rises out of its own spread, and stays there, while it still is a number.

Of the losses so far two running means are kept, one of about thirty minibatches, with the mean distance from it, and
one of about three. The loss is out where the short mean lies more than ``FAR`` of these distances above the long one,
which then stands still, and has left where it is out for ``LASTING`` minibatches on end and has given up a fifth of
what it had fallen: a loss of all but nothing may rise a little, which slowly becomes what is usual. A single loss
counts as at most ``MOST`` distances, so that few outliers are not enough; and of a loss that hardly moves, a hundredth
of it counts as its spread.
"""

import math
from dataclasses import dataclass

WARM_UP, SHORT, LONG = 20, 0.3, 0.03
FAR, MOST, LASTING, LEAST_SPREAD, LITTLE = 3.0, 6.0, 5, 0.01, 0.2


@dataclass(frozen=True, slots=True)
class Departure:
    """A loss that has left: after how many minibatches, where it is, and where it was, give or take ``spread``."""

    minibatch: int
    recent: float
    usual: float
    spread: float

    @property
    def words(self) -> str:
        """What there is to say of it, and what helps."""
        return (
            f"the loss rises out of its spread: {self.recent:.3g} at minibatch {self.minibatch}, where it was "
            f"{self.usual:.3g} give or take {self.spread:.2g}; go back to a checkpoint with a lower lr, or take the "
            "schedule 1f1b-flush, which has no staleness"
        )


class LossWatch:
    """Watches the losses of a training.

    Attributes:
        left: How the loss has left, if it has; the first time only.
    """

    def __init__(self) -> None:
        """Begin before the first loss."""
        self.left: Departure | None = None
        self._count, self._out, self._risen = 0, 0, 0.0
        self._begun, self._usual, self._spread, self._recent = 0.0, 0.0, 0.0, 0.0

    def take(self, minibatch: int, loss: float) -> None:
        """Take the loss of a minibatch into account."""
        if not math.isfinite(loss):
            return
        self._count += 1
        spread = max(self._spread, LEAST_SPREAD * abs(self._usual))
        risen = min(loss, max(self._begun, self._usual + FAR * spread))
        if self._count > WARM_UP:
            loss = min(loss, self._usual + MOST * spread)
        self._recent += max(SHORT, 1 / self._count) * (loss - self._recent)
        if self._count > WARM_UP and self._recent > self._usual + FAR * spread:
            self._out += 1
            self._risen += (risen - self._risen) / self._out
            little = self._risen - self._usual <= LITTLE * (self._begun - self._usual)
            if self._out >= LASTING and self.left is None and not little:
                self.left = Departure(minibatch, self._recent, self._usual, spread)
            if self._out < LASTING or not little:
                return
        self._out, self._risen = 0, 0.0
        if self._count <= WARM_UP:
            self._begun += (loss - self._begun) / self._count
        share = max(LONG, 1 / self._count)
        self._spread += share * (abs(loss - self._usual) - self._spread) if self._count > 1 else 0.0
        self._usual += share * (loss - self._usual)
