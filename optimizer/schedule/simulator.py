"""Simulate a schedule: when each action starts and ends if every stage has a core of its own.

A rank runs its actions in order, each as soon as the rank is free and what it needs has arrived: a forward needs the
previous stage's forward of that minibatch, a backward the next stage's backward, the update of a replicated stage all
backwards that it averages. An action's duration includes copying its results to the neighbour. All predictions that are
printed anywhere come from here, with a duration for each kind of action, and so does the virtual clock of runs whose
stages share cores, with the measured duration of each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from optimizer.schedule.layout import RankLayout
from optimizer.schedule.schedule import Action, Schedule, needed_by


@dataclass(frozen=True, slots=True)
class Duration:
    """Durations of a stage's forward, backward and update, in seconds."""

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
    """The time of an action's message to its reader; the next one on the same way need not wait for the latency."""

    whole_s: float
    latency_s: float


def simulate(
    schedule: Schedule,
    durations_s: Sequence[Sequence[Any]],
    down: Sequence[Message] = (),
    up: Sequence[Message] = (),
    *,
    latest: Callable[[Sequence[Any]], Any] = max,
) -> list[list[Span]]:
    """Return each rank's spans; time starts at 0.

    Args:
        schedule: What every rank does.
        durations_s: What each of these actions takes, rank by rank; ``durations_by_kind`` where all of a kind take the
            same in a stage. Each a number; or an array, of what it takes in each of many draws.
        down: For each stage, what its activations take to the next one; nothing where stages share memory.
        up: For each stage, what gradients take to it from the next one.
        latest: Of some times, the latest; of arrays, the latest in each draw.

    Raises:
        ValueError: The schedule cannot make progress: an action waits for one that never comes.
    """
    arrived: dict[Action, float] = {}
    ended: dict[Action, float] = {}
    layout, minibatches = schedule.layout, schedule.listed
    ways = {"F": _Ways(down, 0, layout, latest), "B": _Ways(up, 1, layout, latest)}
    spans: list[list[Span]] = [[] for _ in schedule.rows]
    moved = True
    while moved:
        moved = False
        for done, actions, own_s in zip(spans, schedule.rows, durations_s, strict=True):
            while len(done) < len(actions):
                action = actions[len(done)]
                needs = needed_by(action, layout, minibatches)
                if not all(need in arrived for need in needs):
                    break
                available = ended if action.kind == "U" else arrived  # an update needs no message
                start = latest([done[-1].end_s if done else 0.0, *(available[need] for need in needs)])
                span = Span(action, start, start + own_s[len(done)])
                ended[action] = span.end_s
                arrived[action] = ways[action.kind].arrival_s(action, span.end_s) if action.kind != "U" else span.end_s
                done.append(span)
                moved = True
    stuck = [str(row[len(done)]) for row, done in zip(schedule.rows, spans, strict=True) if len(done) < len(row)]
    if stuck:
        raise ValueError(f"the schedule cannot go on: {', '.join(stuck)} wait for each other")
    return spans


def durations_by_kind(schedule: Schedule, stages: Sequence[Duration]) -> list[list[float]]:
    """Return what each action of each rank takes where all of a kind take the same in a stage."""
    by_kind = [{"F": own.forward_s, "B": own.backward_s, "U": own.update_s} for own in stages]
    return [[by_kind[action.stage][action.kind] for action in row] for row in schedule.rows]


class _Ways:
    """The ways that messages of one kind go; each carries one message after the other.

    A cut has as many as the smaller of the two stages has ranks.
    """

    def __init__(
        self, messages: Sequence[Message], back: int, layout: RankLayout, latest: Callable[[Sequence[Any]], Any]
    ) -> None:
        self._messages, self._back, self._latest = messages, back, latest
        self._free_s = [[0.0] * min(pair) for pair in pairwise(layout.replicas)]

    def arrival_s(self, action: Action, sent_s: float) -> float:
        """Return when what an action sends at ``sent_s`` arrives."""
        cut = action.stage - self._back
        if not 0 <= cut < min(len(self._messages), len(self._free_s)):
            return sent_s
        message, free_s = self._messages[cut], self._free_s[cut]
        way = action.minibatch % len(free_s)
        start_s: float = self._latest([sent_s, free_s[way]])
        free_s[way] = start_s + message.whole_s - message.latency_s
        return start_s + message.whole_s
