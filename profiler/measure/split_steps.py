"""Time backwards in two, as a stage runs them that splits them: which share of each is the gradients of weights."""

from collections.abc import Mapping
from statistics import median

from profiler.measure.stepper import Stepper

EVERY = 3
"""After every so many rounds a step is split."""


class SplitSteps:
    """Steps whose backward is in two, between rounds whose backward is in one.

    Attributes:
        held_bytes: What each layer holds between the two, by its position.
    """

    def __init__(self, stepper: Stepper) -> None:
        """Split steps of ``stepper``, after its rounds."""
        self._stepper = stepper
        self._steps: list[tuple[Mapping[int, float], Mapping[int, float]]] = []
        self.held_bytes: Mapping[int, int] = {}

    def after_round(self) -> None:
        """Run a split step, if it is time for one."""
        if len(self._stepper.samples.whole_step) % EVERY == 0:
            backward, weights, self.held_bytes = self._stepper.split_step()
            self._steps.append((backward, weights))

    def share(self, position: int) -> float:
        """Return what of a layer's backward is the gradients of its parameters, as a share; 0 where it stays in one."""
        shares = [
            weights[position] / (backward[position] + weights[position])
            for backward, weights in self._steps
            if weights.get(position)
        ]
        return median(shares) if shares else 0.0
