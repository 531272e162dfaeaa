"""From an nn.Module to a graph of layers."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from profiler.capture.fidelity import refuse_unfaithful, refuse_unfaithful_briefly
    from profiler.capture.inputs import inputs_of, laid_out
    from profiler.capture.live import (
        MODEL_LOSS,
        LossFunction,
        Model,
        Sample,
        as_file,
        captured_live,
        from_file,
        live_model,
        pair_of,
    )
    from profiler.capture.models import build, find, made, refuse_unknown
    from profiler.capture.sendable import refuse_unsendable
    from profiler.capture.slice_model import sliceable, sliced_model
    from profiler.capture.undo import untouched
    from profiler.capture.workload import (
        SEED,
        as_fed,
        captured_model,
        loss_of,
        minibatch,
        several_inputs,
    )
else:
    __getattr__ = on_demand(__name__)
