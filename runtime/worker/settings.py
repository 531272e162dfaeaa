"""The settings of a run: what every stage is told alike."""

from dataclasses import dataclass

from optimizer.schedule import PLAIN_1F1B, SCHEDULES, Pace
from profiler.errors import ConfigError
from profiler.settings import LearningRate, UpdateRule
from runtime.results import ChannelName, Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a run.

    Attributes:
        pace: The schedule.
        clock: On the virtual one, stages that share a core take turns on it.
        learning_rate: The learning rate of each update; None: the rule's, for all.
        data: ``package.module:factory`` of the user's own data; synthetic without one.
        vocabulary: Synthetic inputs are whole numbers below it; 0 for floats.
    """

    rule: UpdateRule
    seed: int
    pace: Pace = PLAIN_1F1B
    channel: ChannelName = "shm"
    clock: Clock = "wall"
    learning_rate: LearningRate | None = None
    data: str = ""
    vocabulary: int = 0

    def __post_init__(self) -> None:
        """Refuse to bound a norm that no moment has."""
        if self.rule.clip_norm and not self.pace.rule.synchronous:
            synchronous = " or ".join(name for name, rule in SCHEDULES.items() if rule.synchronous)
            raise ConfigError(
                f"clip_norm bounds the norm of all gradients, and under {self.pace.name} stages are at different "
                f"minibatches, so they have none in common; use clip, or the schedule {synchronous}"
            )
