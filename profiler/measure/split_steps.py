"""Time backwards in two, as a stage runs them that splits them: which share of each is the gradients of weights.

And how much longer they take than backwards in one: of the whole step beside the one just before, for the difference is
small beside what a layer's time varies by.
"""

from collections.abc import Mapping
from statistics import median

from profiler.measure.stepper import Stepper

EVERY = 2
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
        self._longer: list[float] = []
        self.held_bytes: Mapping[int, int] = {}

    def after_round(self) -> None:
        """Run a split step, if it is time for one."""
        samples = self._stepper.samples
        if len(samples.whole_step) % EVERY:
            return
        forward, backward, weights, self.held_bytes = self._stepper.split_step()
        self._steps.append((backward, weights))
        in_one_s = sum(own[-1] for kind in (samples.forward, samples.backward) for own in kind.values())
        in_two_s = sum(sum(own.values()) for own in (forward, backward, weights))
        separable_s = sum(samples.backward[position][-1] for position in weights)
        self._longer.append((in_two_s - in_one_s) / separable_s if separable_s else 0.0)

    def share(self, position: int) -> float:
        """Return what of a layer's backward is the gradients of its parameters, as a share; 0 where it stays in one."""
        shares = [
            weights[position] / (backward[position] + weights[position])
            for backward, weights in self._steps
            if weights.get(position)
        ]
        return median(shares) if shares else 0.0

    def longer(self, position: int) -> float:
        """Return what a layer's backward takes more in two, as a share of that in one; 0 where it stays in one."""
        return median(self._longer) if self.share(position) else 0.0
