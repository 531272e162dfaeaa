"""Put a run whose stages took turns on shared cores on the clock of a machine with a core for every stage.

What an action took while it had a core to itself is real. When it would have run is worked out: the simulator is given
the measured duration of every action, and starts each as soon as its stage is free and what it needs is there.

Of a long run the first minibatches are recorded; the others go on as the simulator ends with their mean durations.

Left out is what stages do to each other that are busy at the same time: of C cores at most C stages share caches, the
memory's bandwidth and the clock here, with a core for every stage all of them would.

Source: online simulation after Clauss et al., "Single node on-line simulation of MPI applications with SMPI", IPDPS
2011: execute the real work, advance a simulated clock.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from optimizer.schedule import Kind, Schedule, Span, simulate, unlisted_s
from runtime.stage_run import ActionRecord, StageRun


def on_virtual_clock(schedule: Schedule, stages: Sequence[Sequence[ActionRecord]]) -> list[tuple[ActionRecord, ...]]:
    """Return the actions of each stage as they would have run with a core for every stage; time starts at 0.

    Args:
        schedule: What ran.
        stages: The actions of each stage as measured, each alone on its core.
    """
    durations_s = [[record.end_s - record.start_s for record in records] for records in stages]
    spans = simulate(schedule, durations_s)
    return [tuple(_moved(records, row)) for records, row in zip(stages, spans, strict=True)]


def unrecorded_s(schedule: Schedule, runs: Sequence[StageRun]) -> float:
    """Return what the minibatches that are not recorded would have taken with a core for every stage.

    A last round of updates that is not full counts as its share of a whole one.

    Args:
        schedule: What ran.
        runs: What each stage did.
    """
    if schedule.listed == schedule.minibatches:
        return 0.0
    durations_s = [
        [mean_s[action.kind] for action in row]
        for row, run in zip(schedule.rows, runs, strict=True)
        for mean_s in [_mean_durations_s(schedule, run)]
    ]
    return unlisted_s(schedule, simulate(schedule, durations_s))


def _mean_durations_s(schedule: Schedule, run: StageRun) -> dict[Kind, float]:
    """Return what an action of each kind took in the minibatches that are not recorded."""
    times, minibatches, every = run.whole, schedule.minibatches, schedule.pace.update_every
    whole_s: dict[Kind, float] = {"F": times.forward_s, "B": times.backward_s, "U": times.update_s}
    done: dict[Kind, int] = {"F": minibatches, "B": minibatches, "U": math.ceil(minibatches / every)}
    recorded = Counter(record.kind for record in run.actions)
    for record in run.actions:
        whole_s[record.kind] -= record.end_s - record.start_s
    return {kind: max(0.0, whole_s[kind]) / (done[kind] - recorded[kind]) for kind in whole_s}


def _moved(records: Sequence[ActionRecord], row: Sequence[Span]) -> Iterator[ActionRecord]:
    free_s = 0.0
    for record, span in zip(records, row, strict=True):
        copying_s = record.end_s - record.computed_s
        yield replace(
            record,
            wait_s=span.start_s - free_s,
            start_s=span.start_s,
            computed_s=max(span.start_s, span.end_s - copying_s),
            end_s=span.end_s,
        )
        free_s = span.end_s
