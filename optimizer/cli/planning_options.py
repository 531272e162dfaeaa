"""The options of every command that plans: a schedule, and which layers may be cut inside."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from optimizer.schedule import FLUSH_EVERY, PLAIN_1F1B, SCHEDULES, Pace, ScheduleName
from profiler.cli import CommonOptions, option, positive
from profiler.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningOptions(CommonOptions):
    """The options of every command that plans, or that runs a plan."""

    HEADING: ClassVar[str] = "how to run"

    batches: Annotated[int | None, option("minibatches per run", type=positive, metavar="N")] = None
    schedule: Annotated[
        ScheduleName | None,
        option(f"{', '.join(SCHEDULES)} ({PLAIN_1F1B.name})", choices=SCHEDULES, metavar="NAME"),
    ] = None
    update_every: Annotated[
        int | None,
        option(
            f"minibatches an update of all but {PLAIN_1F1B.name} ({FLUSH_EVERY})",
            under="more",
            type=positive,
            metavar="M",
        ),
    ] = None

    def pace(self, stages: int, planned: Pace = PLAIN_1F1B) -> Pace:
        """Return the pace of a pipeline of so many stages; where nothing is said, the one that was ``planned``."""
        name = self.schedule or planned.name
        takes = [other for other, rule in SCHEDULES.items() if rule.usual]
        if self.update_every and name not in takes:
            raise ConfigError(f"--update-every says nothing to --schedule {name}; use {' or '.join(takes)}")
        return planned.changed(self.schedule, stages, self.update_every)
