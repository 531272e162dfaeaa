"""What rounds of training steps took, part by part, as it was timed."""

from collections.abc import Callable
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
