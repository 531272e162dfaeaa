"""Errors of a run, each told as one sentence."""

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


class DivergedError(RunError):
    """A loss is no number, and training stopped before it was taken in; all ranks know, and go on if they like."""


class Drained(KeyboardInterrupt):
    """All ranks have trained what had been read when one was told to end, and end together."""


class NeighbourGone(RunError):  # noqa: N818 - it names what happened, and is told as a consequence
    """The process at the other end has gone; something else is the cause."""
