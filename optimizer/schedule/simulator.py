"""Simulate a schedule: when each action starts and ends if every stage has a core of its own.

A stage runs its actions in order, each as soon as the stage is free and what it needs has arrived: a forward needs the
previous stage's forward of that minibatch, a backward the next stage's backward. An action's duration includes copying
its results to the neighbour. All predictions that are printed anywhere come from here, with a duration for each kind of
action, and so does the virtual clock of runs whose stages share cores, with the measured duration of each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

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


def simulate(
    schedule: Schedule,
    durations_s: Sequence[Sequence[Any]],
    down_s: Sequence[float] = (),
    up_s: Sequence[float] = (),
    *,
    latest: Callable[[Sequence[Any]], Any] = max,
) -> list[list[Span]]:
    """Return each stage's spans; time starts at 0.

    Args:
        schedule: What every stage does.
        durations_s: What each of these actions takes, stage by stage; ``durations_by_kind`` where all of a kind take
            the same in a stage. Each a number; or an array, of what it takes in each of many turns.
        down_s: For each stage, what its activations take to the next one; nothing where stages share memory.
        up_s: For each stage, what gradients take to it from the next one.
        latest: Of some times, the latest; of arrays, the latest in each turn.
    """
    arrived: dict[Action, float] = {}
    ways = {"F": _Ways(down_s, 0, latest), "B": _Ways(up_s, 1, latest)}
    spans: list[list[Span]] = [[] for _ in schedule.rows]
    moved = True
    while moved:
        moved = False
        for done, actions, own_s in zip(spans, schedule.rows, durations_s, strict=True):
            while len(done) < len(actions):
                action = actions[len(done)]
                need = needed_by(action, len(spans))
                if need and need not in arrived:
                    break
                start = latest([done[-1].end_s if done else 0.0, *([arrived[need]] if need else [])])
                span = Span(action, start, start + own_s[len(done)])
                if action.kind != "U":
                    arrived[action] = ways[action.kind].arrival_s(action, span.end_s)
                done.append(span)
                moved = True
    stuck = [str(row[len(done)]) for row, done in zip(schedule.rows, spans, strict=True) if len(done) < len(row)]
    if stuck:
        raise ValueError(f"the schedule cannot go on: {', '.join(stuck)} wait for each other")
    return spans


def durations_by_kind(schedule: Schedule, stages: Sequence[Duration]) -> list[list[float]]:
    """Return what each action of each stage takes where all of a kind take the same there."""
    by_kind = [{"F": own.forward_s, "B": own.backward_s, "U": own.update_s} for own in stages]
    return [[by_kind[action.stage][action.kind] for action in row] for row in schedule.rows]


class _Ways:
    """The ways that messages of one kind go, one over each cut; each carries one message after the other."""

    def __init__(self, messages_s: Sequence[float], back: int, latest: Callable[[Sequence[Any]], Any]) -> None:
        self._messages_s, self._back, self._latest = messages_s, back, latest
        self._free_s: list[Any] = [0.0] * len(messages_s)

    def arrival_s(self, action: Action, sent_s: float) -> float:
        """Return when what an action sends at ``sent_s`` arrives."""
        cut = action.stage - self._back
        if not 0 <= cut < len(self._messages_s):
            return sent_s
        arrival_s: float = self._latest([sent_s, self._free_s[cut]]) + self._messages_s[cut]
        self._free_s[cut] = arrival_s
        return arrival_s
