"""Judge failures, of stages and of ranks alike: whose fault comes first, and what only followed from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from runtime.errors import InputError, NeighbourGone, RunError

Cause = Literal["template", "stage", "input", "neighbour"]
"""Whose fault a failure is: the template's, the stage's own, the user's input's, or only the end of another stage's."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a cause means: which comes first, the error that tells it, and what it is called beside a worse one."""

    order: int
    error: type[RunError | InputError]
    label: str = "besides"


_KINDS: dict[Cause, _Kind] = {
    "template": _Kind(0, RunError),
    "stage": _Kind(1, RunError),
    "input": _Kind(2, InputError),
    "neighbour": _Kind(3, NeighbourGone, "a consequence"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Accused:
    """Whoever failed.

    Attributes:
        sentence: Who, and what befell it.
        beside: The same, where it stands below a worse failure.
        at_s: When.
        notes: What is known to have followed from it; ``stack``, where it was.
    """

    sentence: str
    beside: str
    cause: Cause
    at_s: float
    notes: tuple[str, ...] = ()
    stack: tuple[str, ...] = ()


def cause_of(error: BaseException) -> Cause:
    """Return whose fault an exception of a stage or of its parent is."""
    if isinstance(error, NeighbourGone):
        return "neighbour"
    return "input" if getattr(error, "exit_code", None) == InputError.exit_code else "stage"


def verdict(accused: Sequence[Accused]) -> RunError | InputError:
    """Return the error that names the first at fault; notes tell what followed from it, and its own.

    ``NeighbourGone`` says that whoever is at fault is not among the accused.
    """
    first, *others = sorted(accused, key=lambda own: (_KINDS[own.cause].order, own.at_s))
    error = _KINDS[first.cause].error(first.sentence)
    if first.cause not in {"template", "input"}:  # of which all others die, or which says it all
        beside = (f"{_KINDS[other.cause].label}: {other.beside}" for other in others)
        for note in (*first.notes, *beside, *first.stack):
            error.add_note(note)
    return error
