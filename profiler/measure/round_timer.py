"""Take the rounds of a profile: beside busy cores and beside none, with steps split between them, and updates apart.

A split step has its backward in two, as a stage runs it that splits backwards. How much longer that takes is taken of
the whole step beside the one just before, for the difference is small beside what a layer's time varies by.
"""

from collections.abc import Callable, Mapping
from statistics import median

from profiler.measure.neighbours import REST_EVERY
from profiler.measure.stepper import Stepper
from profiler.rounds import Samples

SPLIT_EVERY = 2
"""After every so many rounds a step is split."""


class RoundTimer:
    """The times of a model's steps, by layer.

    Attributes:
        neighbours: How many other cores are busy meanwhile.
        samples: Rounds beside all of these; ``alone``, beside none, one before every second round.
        in_place_shares: What an update in place takes of one beside; ``accumulation_s``, what adding gradients takes
            more than writing them, and ``casting_s``, what casting weights does; ``cast_bytes``, what the casts take.
        held_bytes: What each layer holds between the two parts of a split backward, by its position.
    """

    def __init__(self, stepper: Stepper, neighbours: int, tell: Callable[[str], None]) -> None:
        """Warm up, and time updates; ``tell`` lets the neighbours run or rest."""
        stepper.warm_up()
        self._stepper, self.neighbours, self._tell = stepper, neighbours, tell
        self.samples, self.alone = Samples(), Samples()
        self.in_place_shares, self.accumulation_s = stepper.in_place_shares(), stepper.accumulation_s()
        self.casting_s, self.cast_bytes = stepper.casting_s(), stepper.cast_bytes()
        self._steps: list[tuple[Mapping[int, float], Mapping[int, float]]] = []
        self._longer: list[float] = []
        self.held_bytes: Mapping[int, int] = {}

    def take(self) -> None:
        """Take one round beside the neighbours, and what else it is time for."""
        if self.neighbours and len(self.samples.whole_step) % REST_EVERY == 0:
            self._tell("rest")
            self._stepper.take(self.alone)
            self._tell("run")
        self._stepper.take(self.samples)
        if len(self.samples.whole_step) % SPLIT_EVERY == 0:
            self._split()

    def _split(self) -> None:
        samples = self.samples
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
