"""Let layers of a captured model run under autocast, and see in which type its values then come."""

from dataclasses import replace

from torch import Tensor

from profiler.capture.probe import Probe
from profiler.errors import ConfigError, suggest
from profiler.execution import Captured, OwnLoss
from profiler.profile import Precision


def lowered_model(captured: Captured, precision: Precision, sample: Tensor) -> Captured:
    """Return the model in a precision; ``captured`` and its model are left as they are.

    Args:
        captured: As its model says, with no layer cut.
        precision: Which layers run in bfloat16.
        sample: One minibatch, ``(N, …)``.
    """
    if not precision.lowered:
        return captured
    stay = precision.in_float32
    for name in sorted(stay.difference(captured.layer_names)):
        raise ConfigError(
            f"there is no layer '{name}' to keep in float32{suggest(name, captured.layer_names)}; plan again"
        )
    operations = tuple(
        replace(operation, autocast="off" if operation.name in stay else operation.autocast or "on")
        for operation in captured.operations
    )
    probe = Probe(captured.model, captured.name, operations, captured.outputs, sample)
    probe.run()
    loss = replace(captured.loss, lower=True) if isinstance(captured.loss, OwnLoss) else captured.loss
    return replace(
        captured, operations=operations, specs=probe.specs, form=replace(captured.form, precision=precision), loss=loss
    )
