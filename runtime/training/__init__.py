"""Train a model in a pipeline: over epochs, with checkpoints, and hand its weights back."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.training.checkpoint import (
        generators,
        read_checkpoint,
        restore,
        write_tensors,
        written_anywhere,
    )
    from runtime.training.course import FIRST_EPOCH, Course, LogFile
    from runtime.training.epochs import EpochRecord, Loaders, Part, Paused, train_epochs
    from runtime.training.learning_rates import Steps, configured_rates
    from runtime.training.pipeline import DEFAULT, Pipeline
else:
    __getattr__ = on_demand(__name__)
