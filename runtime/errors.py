"""What can go wrong in a run, told as one sentence."""

from profiler.errors import StageplanError


class RunError(StageplanError):
    """A run failed: a stage raised, died, or lost its neighbour."""


class InputError(StageplanError):
    """A plan, model or option cannot be run as given."""

    exit_code = 2
