"""Simulate a schedule: when each action starts and ends if every stage has a core of its own, and what that comes to.

A stage that is free does the first of what its rule lets it do next (``schedule.Progress``) for which all it needs has
arrived: a forward needs the previous stage's forward of that minibatch, a backward the next stage's backward. An
action's duration includes copying its results to the neighbour. All predictions that are printed anywhere come from
here, and so does the virtual clock of runs whose stages share cores, with the measured duration of each action.
Predicted spans and measured ones go through the same formulas for makespan and throughput.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optimizer.schedule.schedule import Action, Kind, Pace, Progress, Schedule

Durations = Callable[[int, Kind, int], float]
"""Returns what an action takes, given its stage, kind and minibatch; seconds."""


@dataclass(frozen=True, slots=True)
class Duration:
    """Durations of a stage's forward, backward, weight gradients and update, in seconds."""

    forward_s: float
    backward_s: float
    update_s: float
    weights_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Span:
    """When an action ran, in seconds."""

    action: Action
    start_s: float
    end_s: float


def by_kind(stages: Sequence[Duration]) -> Durations:
    """Return durations where all actions of a kind take the same in a stage."""
    times_s = [{"F": own.forward_s, "B": own.backward_s, "W": own.weights_s, "U": own.update_s} for own in stages]
    return lambda stage, kind, _minibatch: times_s[stage][kind]


def simulate(pace: Pace, stages: int, minibatches: int, duration_s: Durations) -> list[list[Span]]:
    """Return each stage's spans, in the order in which it ran; time starts at 0.

    Args:
        pace: The schedule.
        stages: How many stages there are.
        minibatches: How many go through.
        duration_s: What each action takes.
    """
    last = stages - 1
    progress = [Progress(pace, stages, stage, minibatches) for stage in range(stages)]
    arrived: list[dict[tuple[Kind, int], float]] = [{} for _ in range(stages)]
    free_s = [0.0] * stages
    spans: list[list[Span]] = [[] for _ in range(stages)]
    wakes = [(0.0, stage) for stage in range(stages)]
    meetings = _Meetings(stages)
    while wakes:
        now_s, stage = heapq.heappop(wakes)
        if now_s < free_s[stage]:
            continue  # it is busy, and wakes when it is free
        soonest_s = None
        for kind, minibatch in progress[stage].choices():
            waits = (kind == "F" and stage) or (kind == "B" and stage != last) or (kind == "U" and pace.meets)
            at_s = arrived[stage].get((kind, minibatch)) if waits else now_s
            if at_s is not None and at_s <= now_s:
                break
            if at_s is not None and (soonest_s is None or at_s < soonest_s):
                soonest_s = at_s
        else:
            if soonest_s is not None:
                heapq.heappush(wakes, (soonest_s, stage))
            continue
        progress[stage].take(kind)
        end_s = now_s + duration_s(stage, kind, minibatch)
        spans[stage].append(Span(Action(stage, kind, minibatch), now_s, end_s))
        free_s[stage] = end_s
        heapq.heappush(wakes, (end_s, stage))
        if pace.meets and (at_s := meetings.all_there_s(progress[stage], kind, end_s)) is not None:
            for each in range(stages):
                arrived[each]["U", progress[stage].finished - 1] = at_s
            wakes += [(at_s, each) for each in range(stages)]
            heapq.heapify(wakes)
        other = stage + 1 if kind == "F" else stage - 1
        if kind in "FB" and 0 <= other < stages:
            arrived[other][kind, minibatch] = end_s
            heapq.heappush(wakes, (end_s, other))
    assert all(own.updated == minibatches for own in progress), "no order of these can stop"
    return spans


class _Meetings:
    """The meetings of all stages before updates."""

    def __init__(self, stages: int) -> None:
        self._stages = stages
        self._came_s: dict[int, list[float]] = {}

    def all_there_s(self, progress: Progress, kind: Kind, end_s: float) -> float | None:
        """Return when all stages have the gradients of an update, if a stage that has acted is the last of them."""
        if kind == "U" or progress.due is None:
            return None
        came_s = self._came_s.setdefault(progress.due, [])
        came_s.append(end_s)
        return max(came_s) if len(came_s) == self._stages else None


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
