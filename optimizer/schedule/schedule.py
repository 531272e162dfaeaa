"""Schedules as data: for each stage the list of its actions, which the simulator times and the runtime executes.

An action prints as ``2F5``: stage 2, forward, minibatch 5; ``B`` is a backward, ``U`` a weight update, which applies
the gradients of its minibatch and of all before it that no update has applied.

1f1b        A stage of depth d runs d forwards (warm-up), then one backward with its update, one forward, … (steady
            state) and the last backwards (drain). The depth of stage s of S is min(S − s, minibatches), which keeps the
            last stage's alternation fed. Asynchronous: weights move on while minibatches are in flight (PipeDream).
2bw         The same order with one update after each m ≥ S minibatches, and no flush: minibatch b uses the weights
            before last, max(0, ⌊b ÷ m⌋ − 1), in every stage, so two versions do whatever the depth (PipeDream-2BW).
1f1b-flush  The same over M minibatches at a time, with one update after the last of them: synchronous SGD.
gpipe       All M forwards, then all M backwards, then one update: synchronous SGD.
sequential  One minibatch at a time through all stages, forth and back.

The lists of a long run are those of its first minibatches, ``MOST_LISTED`` or a few more: what it needs does not change
any more after that, and each further round of updates takes what those before it took. How many slots and weight
versions a schedule needs is worked out from its lists in ``optimizer.schedule.stage_requirements``.

Sources: Narayanan et al., "PipeDream", SOSP 2019, section 3.2; Narayanan et al., "Memory-efficient pipeline-parallel
DNN training", ICML 2021 (PipeDream-2BW, PipeDream-Flush); Huang et al., "GPipe", NeurIPS 2019.
"""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from msgspec import Meta

from profiler.errors import ConfigError

Kind = Literal["F", "B", "U"]
KIND_NAMES: dict[Kind, str] = {"F": "forward", "B": "backward", "U": "update"}
FLUSH_EVERY = 8
"""Minibatches an update where a schedule flushes and nothing else is said."""
MOST_LISTED = 1_000
"""Minibatches up to which a schedule lists the actions of all."""
MOST_OF_ALL_STAGES = 250_000
"""Listed minibatches times stages; a run with more would have no file that is read again."""


@dataclass(frozen=True, slots=True)
class Action:
    """One forward, backward or update of one minibatch in one stage."""

    stage: int
    kind: Kind
    minibatch: int

    def __str__(self) -> str:
        return f"{self.stage}{self.kind}{self.minibatch}"


Rows = tuple[tuple[Action, ...], ...]


ScheduleName = Literal["1f1b", "2bw", "1f1b-flush", "gpipe", "sequential"]
ASYNCHRONOUS: ScheduleName = "1f1b"


@dataclass(frozen=True, slots=True)
class ScheduleRule:
    """The rule that a schedule's lists of actions are made by.

    Attributes:
        flushes: Whether a minibatch waits for the update of all before it that share none with it.
        usual: Returns how many minibatches an update takes where nothing is said, given the number of stages; None
            where each has one of its own.
        depth: Returns how many minibatches a stage has in flight, given how many stages follow it and how many
            minibatches go between two flushes.
        delayed: Whether a minibatch uses the weights before last, which its group's predecessor has not changed; else
            the newest that its forward finds.
    """

    semantics: str
    flushes: bool
    usual: Callable[[int], int] | None = None
    depth: Callable[[int, int], int] = lambda following, width: min(following + 1, width)
    delayed: bool = False


SCHEDULES: dict[ScheduleName, ScheduleRule] = {
    "1f1b": ScheduleRule("asynchronous, one update a minibatch, weights stashed", flushes=False),
    "2bw": ScheduleRule(
        "asynchronous, one update for several minibatches, weights one update old", flushes=False,
        usual=lambda stages: stages, delayed=True,
    ),
    "1f1b-flush": ScheduleRule("synchronous, one update a flush", flushes=True, usual=lambda _stages: FLUSH_EVERY),
    "gpipe": ScheduleRule(
        "synchronous, one update a flush", flushes=True, usual=lambda _stages: FLUSH_EVERY,
        depth=lambda _following, width: width,
    ),
    "sequential": ScheduleRule("synchronous, one update a minibatch", flushes=True),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pace:
    """A schedule and how many minibatches an update takes."""

    name: ScheduleName
    update_every: Annotated[int, Meta(ge=1, le=1_000_000)]

    def price(self, adding: float, update: float) -> tuple[float, float]:
        """Return what adding up gradients, and updating, come to a minibatch.

        Args:
            adding: What adding to a gradient takes more than writing it anew, which all minibatches of an update but
                the first do.
            update: What an update takes.
        """
        return adding * (self.update_every - 1) / self.update_every, update / self.update_every

    @property
    def flush_every(self) -> int | None:
        """How many minibatches go between two flushes; None where there is none."""
        return self.update_every if SCHEDULES[self.name].flushes else None

    def updates_in_place(self, *, last: bool) -> bool:
        """Say whether a stage, the ``last`` or another, updates the one version of its weights that it holds."""
        return self.flush_every is not None or (self.name == ASYNCHRONOUS and last)

    def version(self, minibatch: int, newest: int) -> int:
        """Return the weight version that a minibatch uses, counted from the run's first, and the newest there is."""
        return max(0, minibatch // self.update_every - 1) if SCHEDULES[self.name].delayed else newest

    def in_flight(self, stages: int, stage: int, minibatches: int) -> int:
        """Return how many minibatches a stage has between forward and backward, of so many in all."""
        width = min(self.flush_every or minibatches, minibatches)
        return SCHEDULES[self.name].depth(stages - 1 - stage, width)

    def versions(self, in_flight: int, minibatches: int) -> int:
        """Return how many weight versions a stage holds that has so many minibatches in flight, of so many in all."""
        if SCHEDULES[self.name].delayed:
            return 1 + (minibatches > self.update_every)
        return 1 if self.flush_every else in_flight

    def listed(self, stages: int, minibatches: int) -> int:
        """Return of how many leading minibatches, of so many in all, a schedule lists the actions.

        Of all up to ``MOST_LISTED``; of more where three rounds of updates, or four times what is in flight, are more.
        """
        enough = max(MOST_LISTED, 3 * self.update_every, 4 * stages)
        return min(minibatches, math.ceil(enough / self.update_every) * self.update_every)

    def changed(self, name: ScheduleName | None, stages: int, update_every: int | None) -> "Pace":
        """Return the pace that is asked for; this one, as far as nothing is."""
        if update_every is None and name in {None, self.name}:
            return self
        return pace_of(name or self.name, stages, update_every)

    @property
    def words(self) -> str:
        """The schedule in words, such as ``1f1b-flush every 8``."""
        return f"{self.name} every {self.update_every}" if self.update_every > 1 else self.name

    def update_words(self, batch_size: int) -> str:
        """Say how many samples an update takes, of minibatches of ``batch_size`` samples."""
        if self.update_every == 1:
            return f"an update takes one minibatch, {batch_size} samples"
        return (
            f"an update takes {self.update_every * batch_size} samples: {self.update_every} minibatches of {batch_size}"
        )


PLAIN_1F1B = Pace(ASYNCHRONOUS, 1)
"""What runs where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Every stage's actions in order; of a long run, those of its first minibatches."""

    pace: Pace
    rows: Rows
    minibatches: int

    @property
    def listed(self) -> int:
        """Of how many minibatches the actions are listed."""
        return sum(action.kind == "F" for action in self.rows[0])


def schedule_of(name: ScheduleName, stages: int, minibatches: int, update_every: int | None = None) -> Schedule:
    """Return a schedule by name.

    Args:
        name: Which one.
        stages: How many stages there are.
        minibatches: How many go through.
        update_every: How many of them an update takes; None: as many as usual.
    """
    pace = pace_of(name, stages, update_every)
    listed = pace.listed(stages, minibatches)
    if stages * listed > MOST_OF_ALL_STAGES:
        raise ConfigError(
            f"{listed:,} minibatches in each of {stages} stages are too many to work out what {pace.words} needs; "
            "use fewer minibatches an update, or fewer in all"
        )
    return replace(in_full(pace, stages, listed), minibatches=minibatches)


def in_short(schedule: Schedule) -> Schedule:
    """Return what stands for a schedule in proofs and predictions.

    It has as many whole rounds as are listed, and ends as the schedule does, with a last round that may not be full.
    """
    if schedule.listed == schedule.minibatches:
        return schedule
    left = schedule.minibatches % schedule.pace.update_every
    whole = in_full(schedule.pace, len(schedule.rows), schedule.listed + left)
    return replace(whole, minibatches=schedule.minibatches)


def in_full(pace: Pace, stages: int, minibatches: int) -> Schedule:
    """Return a schedule that lists the actions of all its minibatches, however many those are."""
    rows = tuple(
        tuple(actions_of(pace, stages, stage, lambda minibatch: minibatch < minibatches)) for stage in range(stages)
    )
    return Schedule(pace, rows, minibatches)


def pace_of(name: ScheduleName, stages: int, update_every: int | None = None) -> Pace:
    """Return the pace of a schedule, given how many minibatches an update is to take; None: as many as usual."""
    rule = SCHEDULES[name]
    pace = Pace(name, 1 if rule.usual is None else update_every or rule.usual(stages))
    if rule.delayed and pace.update_every < stages:
        raise ConfigError(
            f"an update every {pace.update_every} minibatches is too often for {name} with {stages} stages: as many "
            f"are in flight, and some would use weights that are two updates old; use --accumulate {stages} or more"
        )
    return pace


def actions_of(pace: Pace, stages: int, stage: int, exists: Callable[[int], bool]) -> Iterator[Action]:
    """Yield the actions of a stage one by one, for as many minibatches as turn out to exist.

    Args:
        pace: The schedule.
        stages: How many stages there are.
        stage: Whose actions.
        exists: Says whether there is a minibatch of that number. It is asked as late as can be, and about no minibatch
            before those with smaller numbers, so it may wait for an answer.
    """
    width, every = pace.flush_every or sys.maxsize, pace.update_every
    depth = SCHEDULES[pace.name].depth(stages - 1 - stage, width)
    first = 0
    while exists(first):
        end = first + width
        for minibatch in range(first, min(end, first + depth)):
            if not exists(minibatch):
                break
            yield Action(stage, "F", minibatch)
        own = first
        while own < end and exists(own):
            yield Action(stage, "B", own)
            if (own + 1) % every == 0 or not exists(own + 1):
                yield Action(stage, "U", own)
            ahead = own + depth
            if ahead < end and exists(ahead):
                yield Action(stage, "F", ahead)
            own += 1
        first = end


def groups(minibatches: int, update_every: int) -> Iterator[range]:
    """Yield the minibatches of each update."""
    for first in range(0, minibatches, update_every):
        yield range(first, min(first + update_every, minibatches))


def needed_by(action: Action, stages: int) -> Action | None:
    """Return the action of a neighbouring stage that has to end before ``action`` may start, if there is one."""
    if action.kind == "F" and action.stage > 0:
        return Action(action.stage - 1, "F", action.minibatch)
    if action.kind == "B" and action.stage < stages - 1:
        return Action(action.stage + 1, "B", action.minibatch)
    return None


def versions_used(pace: Pace, row: Sequence[Action]) -> dict[int, int]:
    """Return for each minibatch of one stage the weight version that it uses."""
    newest, used = 0, {}
    for action in row:
        if action.kind == "U":
            newest += 1
        elif action.kind == "F":
            used[action.minibatch] = pace.version(action.minibatch, newest)
            assert used[action.minibatch] <= newest
    return used
