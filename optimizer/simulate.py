"""Simulate a schedule: when each action starts and ends if every stage has a core of its own.

A stage runs its actions in order, each as soon as the stage is free and what it needs has arrived: a forward needs the
previous stage's forward of that minibatch, a backward the next stage's backward. An action's duration includes copying
its results to the neighbour. All predictions that are printed anywhere come from here; the runtime's measured spans go
through the same two formulas.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optimizer.schedule import Action, groups, needed_by


@dataclass(frozen=True, slots=True)
class Duration:
    """What each kind of action takes in one stage, in seconds."""

    forward_s: float
    backward_s: float
    update_s: float


@dataclass(frozen=True, slots=True)
class Span:
    """When an action ran, in seconds."""

    action: Action
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Message:
    """What the message of an action takes to its reader; the next one on the same way need not wait for the latency."""

    whole_s: float
    latency_s: float


def simulate(
    schedule: Sequence[Sequence[Action]],
    durations: Sequence[Duration],
    down: Sequence[Message] = (),
    up: Sequence[Message] = (),
) -> list[list[Span]]:
    """Return each stage's spans; time starts at 0.

    Args:
        schedule: The actions of each stage.
        durations: What they take.
        down: For each stage, what its activations take to the next one; nothing where stages share memory.
        up: For each stage, what gradients take to it from the next one.

    Raises:
        ValueError: The schedule cannot make progress: an action waits for one that never comes.
    """
    arrived: dict[Action, float] = {}
    ways = {"F": _Ways(down, 0), "B": _Ways(up, 1)}
    spans: list[list[Span]] = [[] for _ in schedule]
    moved = True
    while moved:
        moved = False
        for stage, actions in enumerate(schedule):
            while len(spans[stage]) < len(actions):
                action = actions[len(spans[stage])]
                need = needed_by(action, len(schedule))
                if need is not None and need not in arrived:
                    break
                free = spans[stage][-1].end_s if spans[stage] else 0.0
                start = max(free, arrived[need] if need is not None else 0.0)
                span = Span(action, start, start + _duration(action, durations[stage]))
                arrived[action] = ways[action.kind].arrival_s(stage, span.end_s) if action.kind != "U" else span.end_s
                spans[stage].append(span)
                moved = True
    stuck = [str(actions[len(done)]) for actions, done in zip(schedule, spans, strict=True) if len(done) < len(actions)]
    if stuck:
        raise ValueError(f"the schedule cannot go on: {', '.join(stuck)} wait for each other")
    return spans


class _Ways:
    """The ways that messages of one kind go, one a cut; each carries one message after the other."""

    def __init__(self, messages: Sequence[Message], back: int) -> None:
        self._messages, self._back = messages, back
        self._free_s = [0.0] * len(messages)

    def arrival_s(self, stage: int, sent_s: float) -> float:
        """Return when what a stage sends at ``sent_s`` arrives."""
        cut = stage - self._back
        if not 0 <= cut < len(self._messages):
            return sent_s
        message = self._messages[cut]
        start_s = max(sent_s, self._free_s[cut])
        self._free_s[cut] = start_s + message.whole_s - message.latency_s
        return start_s + message.whole_s


def makespan_s(spans: Sequence[Sequence[Span]]) -> float:
    """Return the time from the first start to the last end."""
    return max(span.end_s for row in spans for span in row) - min(span.start_s for row in spans for span in row)


def bubble_share(spans: Sequence[Sequence[Span]]) -> float:
    """Return the share of all stages' time, from the first start to the last end, in which they wait."""
    whole_s = makespan_s(spans) * len(spans)
    busy_s = sum(span.end_s - span.start_s for row in spans for span in row)
    return min(1.0, max(0.0, 1 - busy_s / whole_s)) if whole_s else 0.0


def has_steady_state(stages: int, minibatches: int, flush_every: int | None = None) -> bool:
    """Say whether so many minibatches outlast the warm-up, or, with flushes, the first of them."""
    return minibatches > (flush_every or stages)


def throughput(spans: Sequence[Sequence[Span]], batch_size: int, flush_every: int | None = None) -> float:
    """Return the steady-state throughput in samples/s.

    The last stage neither warms up nor drains: it alternates forward and backward from first to last. Its first S
    backwards still ride on the warm-up of the others, so the clock runs from the end of the S-th to the end of the
    last. With flushes it runs from the end of the last backward before the first flush, so that it sees whole rounds.
    With S minibatches or fewer, or a single round, there is no steady state and the whole makespan counts. Where no
    time passes at all, the throughput is 0.
    """
    ends: Mapping[int, float] = {span.action.minibatch: span.end_s for span in spans[-1] if span.action.kind == "B"}
    stages, minibatches = len(spans), len(ends)
    if has_steady_state(stages, minibatches, flush_every):
        *_, last = groups(minibatches, flush_every)
        begun = stages if flush_every is None else flush_every
        # An incomplete last round is all warm-up and drain.
        until = minibatches if flush_every in (None, len(last)) or last[0] == begun else last[0]
        samples, time_s = batch_size * (until - begun), ends[until - 1] - ends[begun - 1]
    else:
        samples, time_s = batch_size * minibatches, makespan_s(spans)
    return samples / time_s if time_s else 0.0


def _duration(action: Action, duration: Duration) -> float:
    return {"F": duration.forward_s, "B": duration.backward_s, "U": duration.update_s}[action.kind]
