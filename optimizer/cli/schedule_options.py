"""The options that name a schedule, and the pace that they stand for."""

from dataclasses import dataclass

from optimizer.schedule import ASYNCHRONOUS, FLUSH_EVERY, SCHEDULES, Pace, ScheduleName, pace_of
from profiler.cli import Parser, positive
from profiler.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleOptions:
    """A schedule, and how many minibatches an update takes, if that was said."""

    schedule: ScheduleName = ASYNCHRONOUS
    accumulate: int | None = None
    flush_every: int | None = None

    def pace(self, stages: int) -> Pace:
        """Return the pace of a pipeline of so many stages.

        Raises:
            ConfigError: The schedule does not take the option, or not so few minibatches an update.
        """
        said = (("--accumulate", self.accumulate, False), ("--flush-every", self.flush_every, True))
        for flag, value, flushes in said:
            takes = [name for name, rule in SCHEDULES.items() if rule.usual and rule.flushes == flushes]
            if value and self.schedule not in takes:
                raise ConfigError(f"{flag} says nothing to --schedule {self.schedule}; use {' or '.join(takes)}")
        return pace_of(self.schedule, stages, self.accumulate or self.flush_every)


def add_schedule(command: Parser) -> None:
    """Add ``--schedule``, ``--accumulate`` and ``--flush-every``."""
    command.add_argument(
        "--schedule", choices=SCHEDULES, default=ASYNCHRONOUS, help=f"order of the actions (default: {ASYNCHRONOUS})"
    )
    command.add_argument(
        "--accumulate", type=positive, metavar="M", help="minibatches an update under 2bw (default: one for each stage)"
    )
    command.add_argument(
        "--flush-every", type=positive, metavar="M", help=f"minibatches an update in a flush (default: {FLUSH_EVERY})"
    )
