"""Put a run whose stages took turns on shared cores on the clock of a machine with a core for every stage.

What an action took while it had a core to itself is real. When it would have run is worked out: the simulator is given
the measured duration of every action, and lets each stage do what the rule of its schedule says, as soon as it is free
and what that needs is there.

Of a long run the first minibatches are recorded; the others go on as the simulator ends with their mean durations.

Left out is what stages do to each other that are busy at the same time: of C cores at most C stages share caches, the
memory's bandwidth and the clock here, with a core for every stage all of them would.

Source: online simulation after Clauss et al., "Single node on-line simulation of MPI applications with SMPI", IPDPS
2011: execute the real work, advance a simulated clock.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from optimizer.schedule import Kind, Schedule, Span, simulate, unlisted_s
from runtime.stage_run import ActionRecord, StageRun


def on_virtual_clock(schedule: Schedule, stages: Sequence[Sequence[ActionRecord]]) -> list[tuple[ActionRecord, ...]]:
    """Return the actions of each stage as they would have run with a core for every stage; time starts at 0.

    Args:
        schedule: What ran.
        stages: The actions of each stage as measured, each alone on its core.
    """
    by_action = [{(record.kind, record.minibatch): record for record in records} for records in stages]

    def took_s(stage: int, kind: Kind, minibatch: int) -> float:
        record = by_action[stage][kind, minibatch]
        return record.end_s - record.start_s

    spans = simulate(schedule.pace, schedule.stages, schedule.listed, took_s)
    return [tuple(_moved(records, row)) for records, row in zip(by_action, spans, strict=True)]


def unrecorded_s(schedule: Schedule, runs: Sequence[StageRun]) -> float:
    """Return what the minibatches that are not recorded would have taken with a core for every stage.

    A last round of updates that is not full counts as its share of a whole one.

    Args:
        schedule: What ran.
        runs: What each stage did.
    """
    if schedule.listed == schedule.minibatches:
        return 0.0
    means_s = [_mean_durations_s(schedule, run) for run in runs]
    spans = simulate(
        schedule.pace, schedule.stages, schedule.listed, lambda stage, kind, _minibatch: means_s[stage][kind]
    )
    return unlisted_s(schedule, spans)


def _mean_durations_s(schedule: Schedule, run: StageRun) -> dict[Kind, float]:
    """Return what an action of each kind took in the minibatches that are not recorded."""
    times, minibatches, every = run.whole, schedule.minibatches, schedule.pace.update_every
    whole_s: dict[Kind, float] = {
        "F": times.forward_s,
        "B": times.backward_s,
        "W": times.weights_s,
        "U": times.update_s,
    }
    done: dict[Kind, int] = {"F": minibatches, "B": minibatches, "W": minibatches, "U": math.ceil(minibatches / every)}
    recorded = Counter(record.kind for record in run.actions)
    for record in run.actions:
        whole_s[record.kind] -= record.end_s - record.start_s
    return {kind: max(0.0, whole_s[kind]) / (done[kind] - recorded[kind]) for kind in whole_s}


def _moved(records: Mapping[tuple[Kind, int], ActionRecord], row: Sequence[Span]) -> Iterator[ActionRecord]:
    free_s = 0.0
    for span in row:
        record = records[span.action.kind, span.action.minibatch]
        copying_s = record.end_s - record.computed_s
        yield replace(
            record,
            wait_s=span.start_s - free_s,
            start_s=span.start_s,
            computed_s=max(span.start_s, span.end_s - copying_s),
            end_s=span.end_s,
        )
        free_s = span.end_s
