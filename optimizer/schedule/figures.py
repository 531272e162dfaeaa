"""What the spans of a run come to: makespan, throughput.

Predicted spans and measured ones go through the same formulas.
"""

from collections.abc import Sequence

from optimizer.schedule.schedule import Schedule
from optimizer.schedule.simulator import Span

Spans = Sequence[Sequence[Span]]


def makespan_s(spans: Spans) -> float:
    """Return the time from the first start to the last end."""
    return max(span.end_s for row in spans for span in row) - min(span.start_s for row in spans for span in row)


def steady_minibatches(schedule: Schedule) -> tuple[int, int]:
    """Return between the ends of which last backwards throughput counts; from 0 on without a steady state.

    That is where all minibatches belong to the warm-up, or, where they share updates, to the first of these. An
    incomplete last round is all warm-up and drain.
    """
    minibatches, update_every = schedule.minibatches, schedule.pace.update_every
    begun = update_every if update_every > 1 else schedule.stages
    if minibatches <= begun:
        return 0, minibatches
    complete = minibatches // update_every * update_every
    return begun, complete if complete > begun else minibatches


def throughput(schedule: Schedule, spans: Spans, batch_size: int) -> float:
    """Return the steady-state throughput in samples/s.

    The last stage neither warms up nor drains: it alternates forward and backward from first to last. Its first S
    backwards still ride on the warm-up of the others, so the clock runs from the end of the S-th to the end of the
    last. Where minibatches share updates it runs from the end of the last backward before the first update, so that it
    sees whole rounds. With S minibatches or fewer, or a single round, there is no steady state and the whole makespan
    counts. Where no time passes at all, the throughput is 0.

    Args:
        schedule: What runs.
        spans: When each stage does what.
        batch_size: Samples in a minibatch.
    """
    ends_s = [span.end_s for span in spans[-1] if span.action.kind == "B"]
    begun, until = steady_minibatches(schedule)
    time_s = ends_s[until - 1] - ends_s[begun - 1] if begun else makespan_s(spans)
    return batch_size * (until - begun) / time_s if time_s else 0.0
