"""Count the operations of a training step, layer by layer; nothing here depends on the time."""

from collections.abc import Sequence
from dataclasses import dataclass

from profiler.errors import CaptureError
from profiler.measure.counters import Work
from profiler.measure.memory import saved_bytes
from profiler.measure.stepper import Stepper

WORK_TOLERANCE = 0.01
"""By how much the operations of the captured step may differ from those of the plain one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Operations of each layer, forward and backward, and the bytes that it keeps, in captured order."""

    flops: Sequence[int]
    backward_flops: Sequence[int]
    saved_bytes: Sequence[int]
    cast_bytes: Sequence[int]


def count_work(stepper: Stepper) -> Counts:
    """Train one step, which updates the weights, and return each layer's operations and the bytes saved and cast."""
    work = Work()
    layers = range(len(stepper.segment.operations))
    with work.counting():
        flops = stepper.instrumented_step(work.flops)
    saved = saved_bytes(stepper.segment, stepper.versions, stepper.received())
    return Counts(
        flops=[int(flops[0][at]) for at in layers],
        backward_flops=[int(flops[1][at]) for at in layers],
        saved_bytes=saved,
        cast_bytes=[min(own) for own in zip(stepper.cast_bytes(), saved, strict=True)],  # a bias is cast, and not kept
    )


def refuse_other_work(stepper: Stepper) -> None:
    """Refuse a model of which the record has lost or added work: then no layer's time could be believed."""
    work = Work()
    with work.counting():
        for _ in range(2):  # for a branch may be taken by chance
            start = work.flops()
            stepper.plain_step()
            plain, start = work.flops() - start, work.flops()
            stepper.instrumented_step(work.flops)
            _refuse_difference(stepper.captured.name, plain, work.flops() - start)


def _refuse_difference(model: str, plain: int, captured: int) -> None:
    if abs(captured - plain) > WORK_TOLERANCE * plain:
        raise CaptureError(
            f"model '{model}' does {plain / 1e9:.3g} GFLOP in a step and its captured layers do {captured / 1e9:.3g}: "
            "its forward does something that a record loses, such as checkpointing or a random branch; leave that out"
        )
