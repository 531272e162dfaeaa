"""What the spans of a run come to: makespan, bubbles, throughput; and how a run goes on whose schedule lists a part.

Predicted spans and measured ones go through the same formulas.

Where every action of a kind takes the same, a schedule settles into a rhythm: some rounds of updates take as long as
so many before them, for good. They are k rounds where k stages wait for each other's messages in a ring. So each
minibatch that is not listed takes the mean of those at the end of the list: of half of it, or of a little less, so that
they are whole rhythms whatever k is, where so many are no more than half of the list; else the mean may be off by some
thousandths. Or what it takes the busiest stage, if that is more: where another is nearly as slow, the list may end
before what is in flight between them has run dry. So times are off by what is in flight, at the most.

Source: Baccelli et al., "Synchronization and linearity", 1992, chapter 3 (max-plus linear systems).
"""

import math
from collections.abc import Sequence

from optimizer.schedule.schedule import Schedule, groups
from optimizer.schedule.simulator import Span

Spans = Sequence[Sequence[Span]]


def makespan_s(spans: Spans) -> float:
    """Return the time from the first start to the last end."""
    return max(span.end_s for row in spans for span in row) - min(span.start_s for row in spans for span in row)


def unlisted_s(schedule: Schedule, spans: Spans) -> float:
    """Return what the minibatches take that a schedule does not list, at the pace that its whole rounds come to.

    Args:
        schedule: What runs.
        spans: When each stage does what, of the minibatches that are listed.
    """
    unlisted = schedule.minibatches - listed_in(spans)
    if not unlisted:
        return 0.0
    whole = schedule.pace.update_every
    ends_s = _ends_s(spans)
    ends_s = ends_s[: len(ends_s) // whole * whole]
    half = len(ends_s) // 2
    rhythm = math.lcm(whole, *range(1, schedule.stages + 1))
    counted = half // rhythm * rhythm or half // whole * whole
    return unlisted * max((ends_s[-1] - ends_s[-1 - counted]) / counted, _busiest_s(spans, len(ends_s)))


def bubble_share(schedule: Schedule, spans: Spans, further_s: float) -> float:
    """Return the share of all stages' time, from the first start to the last end, in which they wait.

    Args:
        schedule: What runs.
        spans: When each stage does what, of the minibatches that are listed.
        further_s: What the minibatches take that are not listed; nothing where there are none.
    """
    whole_s = (makespan_s(spans) + further_s) * len(spans)
    busy_s = sum(span.end_s - span.start_s for row in spans for span in row)
    busy_s *= schedule.minibatches / listed_in(spans)
    return min(1.0, max(0.0, 1 - busy_s / whole_s)) if whole_s else 0.0


def has_steady_state(stages: int, minibatches: int, update_every: int = 1) -> bool:
    """Say whether so many minibatches outlast the warm-up and, where they share updates, the first of these."""
    return minibatches > _begun(stages, update_every)


def steady_minibatches(schedule: Schedule, listed: int) -> tuple[int, int]:
    """Return between the ends of which backwards of the last stage throughput counts; from 0 on without a steady state.

    Args:
        schedule: What runs.
        listed: How many minibatches are simulated.
    """
    stages, update_every = schedule.stages, schedule.pace.update_every
    begun = _begun(stages, update_every)
    if not has_steady_state(stages, listed, update_every):
        return 0, listed
    *_, last = groups(listed, update_every)
    # An incomplete last round is all warm-up and drain.
    return begun, listed if len(last) == update_every or last[0] == begun else last[0]


def throughput(schedule: Schedule, spans: Spans, batch_size: int, further_s: float) -> float:
    """Return the steady-state throughput in samples/s.

    The last stage neither warms up nor drains: it alternates forward and backward from first to last. Its first S
    backwards still ride on the warm-up of the others, so the clock runs from the end of the S-th to the end of the
    last. Where minibatches share updates it runs from the end of the last backward before the first update, so that it
    sees whole rounds. With S minibatches or fewer, or a single round, there is no steady state and the whole makespan
    counts. Where no time passes at all, the throughput is 0.

    Args:
        schedule: What runs.
        spans: When each stage does what, of the minibatches that are listed.
        batch_size: Samples in a minibatch.
        further_s: What the minibatches take that are not listed; nothing where there are none.
    """
    ends_s = _ends_s(spans)
    begun, until = steady_minibatches(schedule, len(ends_s))
    minibatches = until - begun
    time_s = ends_s[until - 1] - ends_s[begun - 1] if begun else makespan_s(spans)
    samples = batch_size * (minibatches + schedule.minibatches - listed_in(spans))
    whole_s = time_s + further_s
    return samples / whole_s if whole_s else 0.0


def listed_in(spans: Spans) -> int:
    """Return how many minibatches the spans are of."""
    return sum(span.action.kind == "F" for span in spans[0])


def _ends_s(spans: Spans) -> list[float]:
    """Return when the last stage's backwards end."""
    return [span.end_s for span in spans[-1] if span.action.kind == "B"]


def _busiest_s(spans: Spans, minibatches: int) -> float:
    """Return what each of the first minibatches takes the busiest stage."""
    rows = ([span for span in row if span.action.minibatch < minibatches] for row in spans)
    return max(sum(span.end_s - span.start_s for span in row) for row in rows) / minibatches


def _begun(stages: int, update_every: int) -> int:
    """Return how many minibatches belong to the warm-up."""
    return update_every if update_every > 1 else stages
