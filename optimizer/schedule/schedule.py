"""Schedules: a rule of what a stage does next, which the simulator times and every stage follows.

An action prints as ``2F5``: stage 2, forward, minibatch 5. ``B`` is a backward, ``U`` a weight update, which applies
the gradients of its minibatch and of all before it that no update has applied. Where backwards are split, ``B`` is the
gradient of what the stage received, for which the stage before waits, and ``W`` the gradients of its own weights, for
which nobody waits.

1f1b         A stage of depth d = S − s runs d forwards (warm-up), then one backward with its update, one forward, …
             (steady state) and the last backwards (drain). Weights move on while minibatches are in flight: each uses
             the newest that its forward finds (PipeDream).
zero-bubble  An update after each M minibatches, all on the same weights: plain SGD. A stage runs a B as soon as its
             gradient is there; else an F, while fewer than 2(S − s) − 1 minibatches are between their F and B, fewer
             than H are held between F and W, and the update that it needs is done; else a W, oldest first. It updates
             when its M Ws are done, and goes on: no stage waits for another's update.
1f1b-flush   The same rule with the backward in one and at most S − s between F and B.
gpipe        The same with the backward in one and all M between F and B; in the last stage one, for its B waits for
             nothing.

No order of these can stop: of the minibatches that are not done everywhere take the first, b. All before it, and their
updates, are done. The first stage that has not run F(b) has what it needs, and b is all that it holds; else the last
that has not run B(b) has its gradient; else some W(b) waits for nothing.

Sources: Narayanan et al., "PipeDream", SOSP 2019, section 3.2; Narayanan et al., "Memory-efficient pipeline-parallel
DNN training", ICML 2021 (PipeDream-Flush); Huang et al., "GPipe", NeurIPS 2019; Qi et al., "Zero bubble
pipeline parallelism", ICLR 2024, arXiv 2401.10241 (the split, and 2(S − s) − 1).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from msgspec import Meta

from profiler.errors import ConfigError

Kind = Literal["F", "B", "W", "U"]
KIND_NAMES: dict[Kind, str] = {"F": "forward", "B": "backward", "W": "weight gradients", "U": "update"}
FLUSH_EVERY = 8
"""Minibatches an update where all use the same weights and nothing else is said; as many as two a stage at least."""
MOST_LISTED = 1_000
"""Minibatches of a run at most, or four updates, if these are more: all of its actions are simulated and recorded."""
MOST_OF_ALL_STAGES = 250_000
"""Minibatches times stages; a run with more would have no file that is read again."""


@dataclass(frozen=True, slots=True)
class Action:
    """One forward, backward, computation of weight gradients, or update, of one minibatch in one stage."""

    stage: int
    kind: Kind
    minibatch: int

    def __str__(self) -> str:
        return f"{self.stage}{self.kind}{self.minibatch}"


ScheduleName = Literal["1f1b", "zero-bubble", "1f1b-flush", "gpipe"]
ASYNCHRONOUS: ScheduleName = "1f1b"


@dataclass(frozen=True, slots=True)
class ScheduleRule:
    """A row of the table of schedules.

    Attributes:
        ahead: Returns how many minibatches a stage has between F and B at most, given how many stages follow it and
            how many minibatches an update takes.
        usual: Returns how many that is where nothing is said, given the number of stages; None: always one.
        synchronous: Whether all minibatches of an update use the same weights.
        splits: Whether backwards are split into B and W.
    """

    semantics: str
    ahead: Callable[[int, int], int] = lambda following, _every: following + 1
    usual: Callable[[int], int] | None = None
    synchronous: bool = False
    splits: bool = False


def _flush_every(_stages: int) -> int:
    return FLUSH_EVERY


SCHEDULES: dict[ScheduleName, ScheduleRule] = {
    "1f1b": ScheduleRule("asynchronous, one update a minibatch, weights stashed"),
    "zero-bubble": ScheduleRule(
        "synchronous, one update for several minibatches", ahead=lambda following, _every: 2 * following + 1,
        usual=lambda stages: max(FLUSH_EVERY, 2 * stages), synchronous=True, splits=True,
    ),
    "1f1b-flush": ScheduleRule("synchronous, one update a flush", usual=_flush_every, synchronous=True),
    "gpipe": ScheduleRule(
        "synchronous, one update a flush", ahead=lambda following, every: every if following else 1,
        usual=_flush_every, synchronous=True,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pace:
    """A schedule, how many minibatches an update takes, and how many a stage may hold between F and W.

    Attributes:
        held: H where backwards are split; 0 where they are not, for then no minibatch is held after its backward.
        meets: Whether a stage waits before an update until all have the gradients for it, to learn the norm of all.
    """

    name: ScheduleName
    update_every: Annotated[int, Meta(ge=1, le=1_000_000)]
    held: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    meets: bool = False

    def price(self, adding: float, splitting: float, update: float) -> tuple[float, float]:
        """Return what adding up gradients in a backward that may be split, and updating, come to a minibatch.

        Args:
            adding: What adding to a gradient takes more than writing it anew, which all minibatches of an update but
                the first do.
            splitting: What a backward takes more in two.
            update: What an update takes.
        """
        added = adding * (self.update_every - 1) / self.update_every + splitting * self.rule.splits
        return added, update / self.update_every

    @property
    def rule(self) -> ScheduleRule:
        """The schedule's row of the table."""
        return SCHEDULES[self.name]

    def updates_in_place(self, *, last: bool) -> bool:
        """Say whether a stage, the ``last`` or another, updates the one version of its weights that it holds."""
        return self.rule.synchronous or (self.name == ASYNCHRONOUS and last)

    def ahead(self, stages: int, stage: int) -> int:
        """Return how many minibatches a stage has between F and B at most."""
        return self.rule.ahead(stages - 1 - stage, self.update_every)

    def in_flight(self, stages: int, stage: int, minibatches: int) -> int:
        """Return how many minibatches a stage holds at once, of so many in all: between F and W, or F and B."""
        most = min(self.held if self.rule.splits else self.ahead(stages, stage), minibatches)
        return min(most, self.update_every) if self.rule.synchronous else most

    def versions(self, in_flight: int) -> int:
        """Return how many weight versions a stage holds that has so many minibatches in flight."""
        return 1 if self.rule.synchronous else in_flight

    def changed(self, name: ScheduleName | None, stages: int, update_every: int | None) -> "Pace":
        """Return the pace that is asked for; this one, as far as nothing is."""
        if update_every is None and name in {None, self.name}:
            return self
        return replace(pace_of(name or self.name, stages, update_every), meets=self.meets)

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
    """A run: its pace, the number of stages, and how many minibatches go through."""

    pace: Pace
    stages: int
    minibatches: int


def schedule_of(pace: Pace, stages: int, minibatches: int) -> Schedule:
    """Return a run, unless it would be too long to work out and record."""
    refuse_long(pace, minibatches)
    if stages * minibatches > MOST_OF_ALL_STAGES:
        raise ConfigError(
            f"{minibatches:,} minibatches in each of {stages} stages are too many to work out what {pace.words} "
            "needs; use fewer minibatches an update, or fewer in all"
        )
    return Schedule(pace, stages, minibatches)


def refuse_long(pace: Pace, minibatches: int) -> None:
    """Refuse a run of more minibatches than are worked out and recorded."""
    most = pace.update_every * max(4, math.ceil(MOST_LISTED / pace.update_every))
    if minibatches > most:
        raise ConfigError(
            f"{minibatches:,} minibatches are too many to work out and record one by one; give --batches {most} or "
            "fewer (train takes any number)"
        )


def pace_of(name: ScheduleName, stages: int, update_every: int | None = None, held: int | None = None) -> Pace:
    """Return the pace of a schedule; as usual, as far as nothing is said.

    Args:
        name: Which one.
        stages: How many stages there are.
        update_every: How many minibatches an update takes.
        held: How many a stage may hold between F and W, if backwards are split; None: 2S − 1, with which none waits.
    """
    rule = SCHEDULES[name]
    every = 1 if rule.usual is None else update_every or rule.usual(stages)
    return Pace(name, every, (held or 2 * stages - 1) if rule.splits else 0)


def groups(minibatches: int, update_every: int) -> Iterator[range]:
    """Yield the minibatches of each update."""
    for first in range(0, minibatches, update_every):
        yield range(first, min(first + update_every, minibatches))


class Progress:
    """How far one stage has come in its run, and what it may do next.

    Attributes:
        minibatches: How many go through; None while nobody knows.
        forwards: How many forwards are done; likewise ``backwards``, of B, and ``weights``, of W.
        updated: Of how many minibatches the gradients are applied.
    """

    __slots__ = ("_ahead", "_ends", "_every", "_held", "_rule", "backwards", "forwards", "minibatches", "stage",
                 "updated", "weights")  # fmt: skip

    def __init__(self, pace: Pace, stages: int, stage: int, minibatches: int | None) -> None:
        """Begin a run; where nobody knows how many minibatches go through, updates end where they are told to."""
        self.stage, self.minibatches = stage, minibatches
        self._rule, self._every = pace.rule, pace.update_every if minibatches is not None else 0
        self._held = pace.in_flight(stages, stage, MOST_OF_ALL_STAGES)
        self._ahead = min(pace.ahead(stages, stage), self._held)
        self._ends: set[int] = set()
        self.forwards = self.backwards = self.weights = self.updated = 0

    def ends_update(self, minibatch: int) -> bool:
        """Say whether a minibatch is the last that an update takes."""
        regular = self._every and (minibatch + 1) % self._every == 0
        return bool(regular) or minibatch + 1 == self.minibatches or minibatch in self._ends

    def end_update(self, minibatch: int) -> None:
        """Let a minibatch be the last that an update takes."""
        self._ends.add(minibatch)

    @property
    def finished(self) -> int:
        """How many minibatches have left their gradients."""
        return self.weights if self._rule.splits else self.backwards

    @property
    def due(self) -> int | None:
        """The last minibatch of an update for which all gradients are there; None where none is due."""
        finished = self.finished
        return finished - 1 if self.updated < finished and self.ends_update(finished - 1) else None

    def choices(self) -> Iterator[tuple[Kind, int]]:
        """Yield what the stage may do next, each with its minibatch: it does the first for which all it needs is there.

        Nothing once all is done.
        """
        finished, forwards, backwards = self.finished, self.forwards, self.backwards
        if self.due is not None:
            yield "U", self.due
            return
        fits = forwards - backwards < self._ahead and forwards - finished < self._held and forwards != self.minibatches
        if not self._rule.synchronous:
            if fits:
                yield "F", forwards
            elif backwards < forwards:
                yield "B", backwards
            return
        if backwards < forwards:
            yield "B", backwards
        if fits and not (self.updated < forwards and self.ends_update(forwards - 1)):
            yield "F", forwards
        if self._rule.splits and finished < backwards:
            yield "W", finished

    def take(self, kind: Kind) -> None:
        """Note that an action of a kind is done, that of the next minibatch."""
        if kind == "F":
            self.forwards += 1
        elif kind == "B":
            self.backwards += 1
        elif kind == "W":
            self.weights += 1
        else:
            self.updated = self.finished
