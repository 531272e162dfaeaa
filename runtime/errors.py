"""Errors of a run, each told as one sentence; and failures, of stages and of ranks alike: whose comes first."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from profiler.errors import StageplanError


class RunError(StageplanError):
    """A run failed: a stage raised, died, stopped responding, or lost its neighbour."""


class InputError(StageplanError):
    """A plan, model, data or option cannot be run as given."""

    exit_code = 2


class NoMinibatchError(InputError):
    """A loader yields no minibatch, or no more."""


class TooLargeError(InputError):
    """A plan does not fit into memory; others of the same model may."""


class TrainingWarning(UserWarning):
    """Training goes on, and whoever trains should know something about it."""


class Drained(KeyboardInterrupt):
    """All ranks have trained what had been read when one was told to end, and end together."""


class NeighbourGone(RunError):  # noqa: N818 - it names what happened, and is told as a consequence
    """The process at the other end has gone; something else is the cause."""


Cause = Literal["forkserver", "stage", "input", "neighbour"]
"""Whose fault it is: the forkserver's, the stage's own, the user's input's, or only the end of another stage's."""
_ORDER: tuple[Cause, ...] = ("forkserver", "stage", "input", "neighbour")
"""Which comes first: of a forkserver's end all die, and a stage's own may look like bad input to its neighbour."""
ALONE: tuple[Cause, ...] = ("forkserver", "input")
"""Those beside which nothing else is told, for they are no stage's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The failure of a stage or a rank, told by itself or by who noticed it.

    Attributes:
        who: Who failed, in words; nothing where only its own process knows of it yet, or it is nobody's.
        doing: What it was doing, in words; nothing where that is not known, or says nothing.
        reason: Why, in words.
        at_s: Since when, on the clock of the process that judges.
        notes: What followed from it.
        stack: Where it was, if it could say.
    """

    who: str = ""
    doing: str = ""
    reason: str
    cause: Cause = "stage"
    at_s: float = 0.0
    notes: tuple[str, ...] = ()
    stack: str = ""

    @property
    def sentence(self) -> str:
        """The failure in a sentence."""
        return self._told("failed in")

    @property
    def beside(self) -> str:
        """The same, where it stands below a worse one."""
        label = "a consequence" if self.cause == "neighbour" else "besides"
        return f"{label}: {self._told('in')}"

    def _told(self, verb: str) -> str:
        if not self.who:
            return self.reason
        return f"{self.who} {verb} {self.doing}: {self.reason}" if self.doing else f"{self.who}: {self.reason}"

    def error(self) -> RunError | InputError:
        """Return the error that tells of it; a consequence's says that whoever is at fault is not known."""
        kinds: dict[Cause, type[RunError | InputError]] = {"input": InputError, "neighbour": NeighbourGone}
        error = kinds.get(self.cause, RunError)(self.sentence)
        for note in self.notes:
            error.add_note(note)
        return error


def cause_of(error: BaseException) -> Cause:
    """Return whose fault an exception of a stage or of its parent is."""
    if isinstance(error, NeighbourGone):
        return "neighbour"
    return "input" if getattr(error, "exit_code", None) == InputError.exit_code else "stage"


def first_of(failures: Sequence[Failure]) -> Failure:
    """Return the first at fault; its notes tell of the others, and where it was."""
    first, *others = sorted(failures, key=lambda own: (_ORDER.index(own.cause), own.at_s))
    if first.cause in ALONE:
        return replace(first, notes=(), stack="")
    was_here = [f"{first.who} was here:\n{first.stack.rstrip()}"] if first.stack else []
    return replace(first, notes=(*first.notes, *(other.beside for other in others), *was_here), stack="")
