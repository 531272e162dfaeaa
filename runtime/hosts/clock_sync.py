"""Bring the reports of all stages together, their times on the clock of the first stage's host.

Clocks of two hosts differ by an offset that drifts, by some millionths. It is read before and after the run, and is
taken to change evenly in between.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from profiler.machine import physical_core
from runtime.hosts.session import Session
from runtime.results import StageRun
from runtime.worker import Report


@dataclass(frozen=True, slots=True)
class Reading:
    """The offset of this host's clock from the first stage's when it shows ``at_s``, with its error, in seconds."""

    at_s: float
    offset_s: float
    error_s: float


def reading(session: Session) -> Reading:
    """Compare this host's clock with that of the first stage's."""
    offset_s, error_s = session.clock()
    return Reading(time.perf_counter(), offset_s, error_s)


def shifted(run: StageRun, before: Reading, after: Reading) -> StageRun:
    """Return what a stage did with its times as the other clock would have shown them."""
    span_s = after.at_s - before.at_s
    rate = (after.offset_s - before.offset_s) / span_s if span_s else 0.0

    def there_s(here_s: float) -> float:
        return here_s + before.offset_s + (here_s - before.at_s) * rate

    actions = tuple(
        replace(
            record, start_s=there_s(record.start_s), computed_s=there_s(record.computed_s), end_s=there_s(record.end_s)
        )
        for record in run.actions
    )
    whole = replace(run.whole, began_s=there_s(run.whole.began_s), ended_s=there_s(run.whole.ended_s))
    return replace(run, actions=actions, whole=whole, clock_error_s=max(before.error_s, after.error_s))


def placed(session: Session, reports: Sequence[Report], before: Reading, after: Reading) -> list[Report]:
    """Say which core the reports of the stages that are here come from, and put their times on the common clock."""
    boot = session.members[session.rank].boot
    return [
        replace(
            report,
            run=shifted(report.run, before, after),
            physical_core=(boot, *physical_core(report.run.core)),
        )
        for report in reports
    ]
