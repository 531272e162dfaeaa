"""Errors of the optimizer, each told as one sentence."""

from profiler.errors import StageplanError


class OptimizerError(StageplanError):
    """The root of the optimizer's errors: by default, something that the user gave cannot be used."""

    exit_code = 2


class ProfileError(OptimizerError):
    """A profile cannot be planned for."""


class PartitionError(OptimizerError):
    """There is no such partition, or it cannot be had for this model and number of stages."""


class InfeasibleError(PartitionError):
    """No split keeps to the limit on memory."""

    exit_code = 3
