"""Schedules as data: for each stage the list of its actions, which the simulator times and the runtime executes.

An action prints as ``2F5``: stage 2, forward, minibatch 5; ``B`` is a backward, ``U`` a weight update, which applies
the gradients of its minibatch and of all before it that no update has applied.

1f1b        A stage of depth d runs d forwards (warm-up), then one backward with its update, one forward, … (steady
            state) and the last backwards (drain). The depth of stage s of S is min(S − s, minibatches), which keeps the
            last stage's alternation fed. Asynchronous: weights move on while minibatches are in flight (PipeDream).
1f1b-flush  The same over M minibatches at a time, with one update after the last of them: synchronous SGD.
gpipe       All M forwards, then all M backwards, then one update: synchronous SGD.
sequential  One minibatch at a time through all stages, forth and back.

How many slots and weight versions a schedule needs is worked out from its lists in
``optimizer.schedule.stage_requirements``.

Sources: Narayanan et al., "PipeDream", SOSP 2019, section 3.2; Narayanan et al., "Memory-efficient pipeline-parallel
DNN training", ICML 2021 (PipeDream-Flush); Huang et al., "GPipe", NeurIPS 2019.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from optimizer.schedule.layout import RankLayout

Kind = Literal["F", "B", "U"]
KIND_NAMES: dict[Kind, str] = {"F": "forward", "B": "backward", "U": "update"}
FLUSH_EVERY = 8
"""Minibatches an update where a schedule flushes and nothing else is said."""


@dataclass(frozen=True, slots=True)
class Action:
    """One forward, backward or update of one minibatch in one stage."""

    stage: int
    kind: Kind
    minibatch: int

    def __str__(self) -> str:
        return f"{self.stage}{self.kind}{self.minibatch}"


Rows = tuple[tuple[Action, ...], ...]


ScheduleName = Literal["1f1b", "1f1b-flush", "gpipe", "sequential"]
ASYNCHRONOUS: ScheduleName = "1f1b"
ONE_AT_A_TIME: ScheduleName = "sequential"


@dataclass(frozen=True, slots=True)
class ScheduleRule:
    """The rule that a schedule's lists of actions are made by.

    Attributes:
        semantics: What it trains, in words.
        flush_width: Returns how many minibatches go between two flushes, given
            ``flush_every``; None where none flushes.
        depth: Returns how many minibatches a replica has in flight, given the layout, the stage and how many
            minibatches go between two flushes.
    """

    semantics: str
    flush_width: Callable[[int], int | None]
    depth: Callable[[RankLayout, int, int], int] = RankLayout.depth


SCHEDULES: dict[ScheduleName, ScheduleRule] = {
    "1f1b": ScheduleRule("asynchronous, one update a minibatch, weights stashed", lambda _every: None),
    "1f1b-flush": ScheduleRule("synchronous, one update a flush", lambda every: every),
    "gpipe": ScheduleRule("synchronous, one update a flush", lambda every: every, lambda _layout, _stage, width: width),
    "sequential": ScheduleRule("synchronous, one update a minibatch", lambda _every: 1),
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """Every stage's actions in order.

    Attributes:
        flush_every: How many minibatches an update takes before the next may start; None where none waits.
        rows: The actions of each rank, which is a stage where none is replicated.
        replicas: How many ranks each stage has.
    """

    name: ScheduleName
    flush_every: int | None
    rows: Rows
    replicas: tuple[int, ...]

    @property
    def layout(self) -> RankLayout:
        """Which rank runs what."""
        return RankLayout(self.replicas)

    @property
    def minibatches(self) -> int:
        """The number of minibatches."""
        return sum(action.kind == "F" for row in self.rows for action in row if action.stage == 0)


def schedule_of(
    name: ScheduleName, stages: int | Sequence[int], minibatches: int, flush_every: int = FLUSH_EVERY
) -> Schedule:
    """Return a schedule by name.

    Args:
        name: Which one.
        stages: How many stages there are, or how many ranks each stage has; several under 1F1B only.
        minibatches: How many go through.
        flush_every: After how many the schedule flushes, if it does; ``sequential`` flushes after each.
    """
    layout = RankLayout((1,) * stages if isinstance(stages, int) else tuple(stages))
    assert name == ASYNCHRONOUS or not layout.replicated
    width = flush_width(name, flush_every)
    rows = tuple(
        tuple(actions_of(name, layout, rank, width, lambda minibatch: minibatch < minibatches))
        for rank in range(layout.size)
    )
    return Schedule(name, width, rows, layout.replicas)


def flush_width(name: ScheduleName, flush_every: int) -> int | None:
    """Return how many minibatches go between two flushes; None where the schedule has none."""
    return SCHEDULES[name].flush_width(flush_every)


def semantics(name: ScheduleName, layout: RankLayout) -> str:
    """Return in words what a schedule trains."""
    if layout.replicated:
        return "asynchronous, replicas in turn, one update a round of theirs, weights stashed"
    return SCHEDULES[name].semantics


def actions_of(
    name: ScheduleName, layout: RankLayout, rank: int, width: int | None, exists: Callable[[int], bool]
) -> Iterator[Action]:
    """Yield the actions of a rank one by one, for as many minibatches as turn out to exist.

    Args:
        name: The schedule.
        layout: Which rank runs what.
        rank: Whose actions.
        width: How many minibatches go between two flushes; None where there is none.
        exists: Says whether there is a minibatch of that number. It is asked as late as can be, and about no minibatch
            before those with smaller numbers, so it may wait for an answer.
    """
    stage, replica = layout.stage_of(rank), layout.replica_of(rank)
    replicas = layout.replicas[stage]
    depth = SCHEDULES[name].depth(layout, stage, width or sys.maxsize)
    first = 0
    while exists(first):
        end = first + (width or sys.maxsize)
        for minibatch in range(first + replica, min(end, first + replica + depth * replicas), replicas):
            if not exists(minibatch):
                break
            yield Action(stage, "F", minibatch)
        round_ = first
        while round_ < end and exists(round_):
            own, following = round_ + replica, round_ + replicas
            if own < end and exists(own):
                yield Action(stage, "B", own)
            if width is None or following >= end or not exists(following):
                yield Action(stage, "U", own)  # a replica without a minibatch in the last round updates all the same
            ahead = own + depth * replicas
            if ahead < end and exists(ahead):
                yield Action(stage, "F", ahead)
            round_ = following
        first = end


def groups(minibatches: int, flush_every: int | None) -> Iterator[range]:
    """Yield the minibatches between two flushes; all of them where there is none."""
    width = flush_every or minibatches
    for first in range(0, minibatches, width):
        yield range(first, min(first + width, minibatches))


def needed_by(action: Action, layout: RankLayout, minibatches: int) -> list[Action]:
    """Return the actions of other ranks that have to end before ``action`` may start.

    A forward or backward needs that of a neighbouring stage; the update of a replicated stage, all backwards of its
    round.
    """
    if action.kind == "F" and action.stage > 0:
        return [Action(action.stage - 1, "F", action.minibatch)]
    if action.kind == "B" and action.stage < layout.stages - 1:
        return [Action(action.stage + 1, "B", action.minibatch)]
    if action.kind == "U" and layout.replicas[action.stage] > 1:
        round_ = layout.round_of(action.stage, action.minibatch, minibatches)
        return [Action(action.stage, "B", other) for other in round_ if other != action.minibatch]
    return []


def versions_used(row: Sequence[Action]) -> dict[int, int]:
    """Return for each minibatch of one stage the weight version that its forward finds newest."""
    newest, used = 0, {}
    for action in row:
        if action.kind == "U":
            newest += 1
        elif action.kind == "F":
            used[action.minibatch] = newest
    return used
