"""Put a run whose stages took turns on shared cores on the clock of a machine with a core for every stage.

What an action took while it had a core to itself is real. When it would have run is worked out: the simulator is given
the measured duration of every action, and starts each as soon as its stage is free and what it needs is there.

Left out is what stages do to each other that are busy at the same time: of C cores at most C stages share caches, the
memory's bandwidth and the clock here, with a core for every stage all of them would.

Source: online simulation after Clauss et al., "Single node on-line simulation of MPI applications with SMPI", IPDPS
2011: execute the real work, advance a simulated clock.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from optimizer.schedule import Schedule, Span, simulate
from runtime.results import ActionRecord


def on_virtual_clock(
    schedule: Schedule, stages: Sequence[Sequence[ActionRecord]], slowdowns: Sequence[float] | None = None
) -> list[tuple[ActionRecord, ...]]:
    """Return the actions of each stage as they would have run with a core for every stage; time starts at 0.

    Args:
        schedule: What ran.
        stages: The actions of each stage as measured, each alone on its core.
        slowdowns: By which factor to lengthen the actions of each stage; None: by none.
    """
    factors = slowdowns or [1.0] * len(stages)
    durations_s = [
        [(record.end_s - record.start_s) * factor for record in records]
        for records, factor in zip(stages, factors, strict=True)
    ]
    spans = simulate(schedule, durations_s)
    return [tuple(_moved(records, row)) for records, row in zip(stages, spans, strict=True)]


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
