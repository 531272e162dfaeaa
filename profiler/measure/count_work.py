"""Count the operations of a training step, layer by layer; nothing here depends on the time.

Floating-point operations are counted as ``torch.utils.flop_counter`` does: of products, a multiply-add as two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from profiler.errors import CaptureError
from profiler.measure.memory import saved_bytes
from profiler.measure.stepper import Stepper

aten = torch.ops.aten
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
    layers = range(len(stepper.segment.operations))
    with counting() as counter:
        flops = stepper.instrumented_step(counter.get_total_flops)
    saved = saved_bytes(stepper.segment, stepper.versions, stepper.received())
    return Counts(
        flops=[int(flops[0][at]) for at in layers],
        backward_flops=[int(flops[1][at]) for at in layers],
        saved_bytes=saved,
        cast_bytes=[min(own) for own in zip(stepper.cast_bytes(), saved, strict=True)],  # a bias is cast, and not kept
    )


def refuse_other_work(stepper: Stepper) -> None:
    """Refuse a model of which the record has lost or added work: then no layer's time could be believed."""
    with counting() as counter:
        for _ in range(2):  # for a branch may be taken by chance
            start = counter.get_total_flops()
            stepper.plain_step()
            plain, start = counter.get_total_flops() - start, counter.get_total_flops()
            stepper.instrumented_step(counter.get_total_flops)
            _refuse_difference(stepper.captured.name, plain, counter.get_total_flops() - start)


def _refuse_difference(model: str, plain: int, captured: int) -> None:
    if abs(captured - plain) > WORK_TOLERANCE * plain:
        raise CaptureError(
            f"model '{model}' does {plain / 1e9:.3g} GFLOP in a step and its captured layers do {captured / 1e9:.3g}: "
            "its forward does something that a record loses, such as checkpointing or a random branch; leave that out"
        )


def counting() -> FlopCounterMode:
    """Return what adds up the floating-point operations of every operator that runs within it."""
    return FlopCounterMode(display=False, custom_mapping=_attention_on_cpu())


def _attention_on_cpu() -> dict[Any, Callable[..., int]]:
    """Count fused attention on a CPU, which flop_counter leaves out: two matrix products, five in the backward."""

    def forward(query: Any, key: Any, value: Any, *_rest: Any, **_named: Any) -> int:
        (*batch, rows, width), columns = query, key[-2]
        return int(2 * prod(batch) * rows * columns * (width + value[-1]))

    def backward(_gradient: Any, query: Any, key: Any, value: Any, *_rest: Any, **_named: Any) -> int:
        (*batch, rows, width), columns = query, key[-2]
        return int(2 * prod(batch) * rows * columns * (3 * width + 2 * value[-1]))

    return {
        aten._scaled_dot_product_flash_attention_for_cpu: forward,  # noqa: SLF001
        aten._scaled_dot_product_flash_attention_for_cpu_backward: backward,  # noqa: SLF001
    }
