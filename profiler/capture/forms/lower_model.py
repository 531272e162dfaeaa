"""Let a captured model run under autocast, and see in which type its values then come."""

from dataclasses import replace

from torch import Tensor

from profiler.capture.probe import Probe
from profiler.execution import Captured, OwnLoss
from profiler.profile import BF16, Form


def lowered_model(captured: Captured, sample: Tensor) -> Captured:
    """Return the model in bfloat16; ``captured``, with no layer cut, and its model are left as they are.

    Args:
        captured: As its model says.
        sample: One minibatch, ``(N, …)``.
    """
    operations = tuple(replace(operation, autocast=operation.autocast or "on") for operation in captured.operations)
    probe = Probe(captured.model, captured.name, operations, captured.outputs, sample)
    probe.run()
    loss = replace(captured.loss, lower=True) if isinstance(captured.loss, OwnLoss) else captured.loss
    return replace(captured, operations=operations, specs=probe.specs, form=Form(precision=BF16), loss=loss)
