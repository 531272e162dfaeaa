"""Bring the reports of all stages together, their times on the clock of the first stage's host.

Clocks of two hosts differ by an offset that drifts, by some millionths. It is read before and after the run, and is
taken to change evenly in between.
"""

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from profiler.machine import physical_core
from runtime.cluster.session import Session
from runtime.worker import Report, StageReport


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


def shifted(report: Report, before: Reading, after: Reading) -> Report:
    """Return the report with its times as the other clock would have shown them."""
    span_s = after.at_s - before.at_s
    rate = (after.offset_s - before.offset_s) / span_s if span_s else 0.0

    def there_s(here_s: float) -> float:
        return here_s + before.offset_s + (here_s - before.at_s) * rate

    actions = tuple(
        replace(
            record, start_s=there_s(record.start_s), computed_s=there_s(record.computed_s), end_s=there_s(record.end_s)
        )
        for record in report.actions
    )
    times = report.times
    times = replace(times, began_s=there_s(times.began_s), ended_s=there_s(times.ended_s))
    return replace(report, actions=actions, times=times)


def placed(
    session: Session, cores: Sequence[int], reports: Sequence[Report], before: Reading, after: Reading
) -> list[StageReport]:
    """Say where the reports of the stages that are here come from, and put their times on the common clock."""
    boot = session.members[session.rank].boot
    return [
        StageReport(
            report=shifted(report, before, after),
            host=socket.gethostname(),
            core=core,
            physical_core=(boot, *physical_core(core)),
            clock_error_s=max(before.error_s, after.error_s),
        )
        for report, core in zip(reports, cores, strict=True)
    ]


def all_reports(session: Session, topic: str, here: Sequence[StageReport]) -> list[StageReport]:
    """Return the reports of all stages in their order, on every rank."""
    return [report for reports in session.exchange(topic, list(here), list[StageReport]) for report in reports]
