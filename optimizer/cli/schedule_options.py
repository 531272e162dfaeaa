"""The options that name a schedule, and the pace that they stand for."""

from dataclasses import dataclass

from optimizer.schedule import FLUSH_EVERY, PLAIN_1F1B, SCHEDULES, Pace, ScheduleName
from profiler.cli import Parser, positive
from profiler.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleOptions:
    """A schedule, and how many minibatches an update takes, as far as that was said."""

    schedule: ScheduleName | None = None
    accumulate: int | None = None
    flush_every: int | None = None

    def pace(self, stages: int, planned: Pace = PLAIN_1F1B) -> Pace:
        """Return the pace of a pipeline of so many stages; where nothing is said, the one that was ``planned``.

        Raises:
            ConfigError: The schedule does not take the option, or not so few minibatches an update.
        """
        name = self.schedule or planned.name
        said = (("--accumulate", self.accumulate, False), ("--flush-every", self.flush_every, True))
        for flag, value, flushes in said:
            takes = [other for other, rule in SCHEDULES.items() if rule.usual and rule.flushes == flushes]
            if value and name not in takes:
                raise ConfigError(f"{flag} says nothing to --schedule {name}; use {' or '.join(takes)}")
        return planned.changed(self.schedule, stages, self.accumulate or self.flush_every)


def add_schedule(command: Parser) -> None:
    """Add ``--schedule``, ``--accumulate`` and ``--flush-every``."""
    command.add_argument(
        "--schedule", choices=SCHEDULES, help=f"order of the actions (default: the plan's, {PLAIN_1F1B.name})"
    )
    command.add_argument(
        "--accumulate", type=positive, metavar="M", help="minibatches an update under 2bw (default: one for each stage)"
    )
    command.add_argument(
        "--flush-every", type=positive, metavar="M", help=f"minibatches an update in a flush (default: {FLUSH_EVERY})"
    )
