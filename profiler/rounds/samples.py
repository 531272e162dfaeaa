"""What rounds of training steps took, part by part, as it was timed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Clock = Callable[[], float]
"""What tells the time, in seconds."""
LOSS = -1
"""Where the loss stands among the layers' positions."""


@dataclass(slots=True)
class Samples:
    """One time a round, in seconds; ``forward[LOSS]`` and ``backward[LOSS]`` are the loss's.

    ``whole_step_cpu`` is the processor time of the plain step: what is missing to ``whole_step`` went to others.
    """

    whole_step: list[float] = field(default_factory=list)
    whole_step_cpu: list[float] = field(default_factory=list)
    forward: dict[int, list[float]] = field(default_factory=dict)
    backward: dict[int, list[float]] = field(default_factory=dict)
    update: dict[int, list[float]] = field(default_factory=dict)

    def took_s(self, position: int) -> tuple[float, ...]:
        """Return what all of a layer, or the loss, took in each round."""
        parts = [store[position] for store in (self.forward, self.backward, self.update) if position in store]
        return tuple(map(sum, zip(*parts, strict=True)))


def foreign_load(wall_s: Sequence[float], cpu_s: Sequence[float]) -> float:
    """Return the share of the time in which the core did not work for us; 0 at the least, and of no time."""
    return max(0.0, 1 - sum(cpu_s) / sum(wall_s)) if sum(wall_s) else 0.0
