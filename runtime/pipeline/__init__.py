"""Run a plan: hand each stage its layers, run the schedule, gather what happened."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.pipeline.core_assignment import (
        FOREIGN_LOAD_LIMIT,
        core_count,
        cores_for,
        default_clock,
        noisy,
        own_cores,
        sharing,
        taking_turns,
    )
    from runtime.pipeline.execution import Execution
    from runtime.pipeline.model_keys import from_model_keys, own_key, to_model_keys, without_tensors
    from runtime.pipeline.progress import ProgressBar, progress_bar
    from runtime.pipeline.read_minibatches import Reader, Rest, refuse_other_data
    from runtime.pipeline.reader_thread import PATIENCE_S, one_by_one
    from runtime.pipeline.start import cores_of, executions_of, pool_of
else:
    __getattr__ = on_demand(__name__)
