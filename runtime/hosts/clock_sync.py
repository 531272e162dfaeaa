"""Put the times that the stages report on the clock of the first stage's host."""

from collections.abc import Sequence
from dataclasses import replace

from profiler.machine import physical_core
from runtime.hosts.session import Session
from runtime.results import StageRun
from runtime.worker import Report


def shifted(run: StageRun, offset_s: float) -> StageRun:
    """Return what a stage did with its times as another clock would have shown them, which is ahead by ``offset_s``."""
    actions = tuple(
        replace(
            record,
            start_s=record.start_s + offset_s,
            computed_s=record.computed_s + offset_s,
            end_s=record.end_s + offset_s,
        )
        for record in run.actions
    )
    whole = replace(run.whole, began_s=run.whole.began_s + offset_s, ended_s=run.whole.ended_s + offset_s)
    return replace(run, actions=actions, whole=whole)


def placed(session: Session, reports: Sequence[Report], offset_s: float) -> list[Report]:
    """Say which core the reports of the stages that are here come from, and put their times on the common clock."""
    boot = session.members[session.rank].boot
    return [
        replace(
            report,
            run=shifted(report.run, offset_s),
            physical_core=(boot, *physical_core(report.run.core)),
        )
        for report in reports
    ]
