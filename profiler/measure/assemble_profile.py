"""Put what was measured together into a profile."""

import mmap
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import torch

from profiler.capture import sliceable
from profiler.execution import Captured, OwnLoss, TensorSpec, fill, slot_tensors
from profiler.machine import this_machine
from profiler.measure.count_work import Counts
from profiler.measure.memory import Memory
from profiler.measure.neighbours import REST_EVERY
from profiler.measure.split_steps import SplitSteps
from profiler.profile import INPUT, CopyCost, Layer, Loss, Profile, typed_for
from profiler.rounds import (
    LOSS,
    Samples,
    StepShares,
    closure_error,
    doubt_of,
    foreign_load,
    layer_times,
    step_shares,
    step_totals,
    timing,
)
from profiler.settings import Config

KINDS = ("forward", "backward", "update")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All that was measured of one model, of its layers in order.

    Attributes:
        samples: Rounds beside busy cores; ``alone``, in rounds beside none, if there were others.
        split: Steps whose backward was split.
    """

    config: Config
    captured: Captured
    core: int
    affinity: tuple[int, ...]
    copy_cost: CopyCost
    memory: Memory | None
    samples: Samples
    alone: Samples
    counts: Counts
    in_place_shares: Sequence[float]
    accumulation_s: Sequence[float]
    casting_s: Sequence[float]
    neighbours: int
    split: SplitSteps


def profile_of(measured: Measured) -> Profile:
    """Return the profile of a model: each layer's times with their spread, bytes, operations and memory."""
    config, captured = measured.config, measured.captured
    samples = measured.samples
    shares, alone = _shares(measured)
    whole_step = timing(measured.alone.whole_step or samples.whole_step)
    doubt = doubt_of(layer_times(samples), config.stages)
    return Profile(
        model=config.name,
        model_digest=captured.digest,
        slicing=captured.form.slicing,
        precision=captured.form.precision,
        batch_size=config.batch_size,
        input_shape=config.input_shape,
        classes=captured.classes,
        vocabulary=config.vocabulary,
        loss_name=captured.loss.name if isinstance(captured.loss, OwnLoss) else "",
        update_rule=config.rule.kind,
        momenta=config.rule.momenta,
        machine=this_machine(),
        core=measured.core,
        affinity=measured.affinity,
        layers=_layers(measured, shares, alone),
        edges=captured.edges,
        inseparable=captured.inseparable,
        outputs=captured.outputs,
        loss=_loss(shares, alone),
        copy_cost=measured.copy_cost,
        input_bytes=captured.specs[INPUT].bytes,
        peak_memory_bytes=measured.memory.peak_bytes if measured.memory else None,
        whole_step_s=whole_step.median_s,
        whole_step=whole_step,
        neighbours=measured.neighbours,
        beside_s=whole_step.median_s * _times_beside(measured),
        closure_error=closure_error(samples),
        rounds=len(samples.whole_step),
        uncertainty=doubt.spread,
        regret=doubt.regret,
        foreign_load=foreign_load(samples.whole_step, samples.whole_step_cpu),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        typed=typed_for(config.typed, captured.form),
    )


def _times_beside(measured: Measured) -> float:
    """Return how many times as long a plain step takes beside busy cores as just before beside none."""
    pairs = zip(measured.samples.whole_step[::REST_EVERY], measured.alone.whole_step, strict=False)
    return float(np.median([beside_s / alone_s for beside_s, alone_s in pairs] or [1.0]))


def _shares(measured: Measured) -> tuple[StepShares, StepShares | None]:
    """Return what each part of a step takes, and what it takes beside no busy core where that is something else."""
    captured, counts = measured.captured, measured.counts
    alike = [
        (
            operation.kind,
            captured.parameter_bytes(operation.name),
            captured.specs[operation.name].bytes if operation.name in captured.specs else 0,
            counts.saved_bytes[position],
            counts.flops[position],
            counts.backward_flops[position],
        )
        for position, operation in enumerate(captured.operations)
    ]
    shares = step_shares(measured.samples, alike)
    if not measured.alone.forward:
        return shares, None
    pairs = zip(step_totals(measured.alone), step_totals(measured.samples)[::REST_EVERY], strict=True)
    faster = float(np.median([alone_s / beside_s if beside_s else 1.0 for alone_s, beside_s in pairs]))
    return shares, step_shares(measured.alone, alike, scale_s=faster * sum(shares.costs_s.values()))


def _layers(measured: Measured, shares: StepShares, alone: StepShares | None) -> tuple[Layer, ...]:
    captured, counts = measured.captured, measured.counts
    can, transient = sliceable(captured), measured.memory.transient_bytes if measured.memory else None
    records = []
    for position, operation in enumerate(captured.operations):
        spec = captured.specs.get(operation.name)
        forward_s, backward_s, update_s = (shares.costs_s[kind, position] for kind in KINDS)
        owner = operation.name.rpartition(".")[0]
        records.append(
            Layer(
                name=operation.name,
                kind=operation.kind,
                forward_s=forward_s,
                backward_s=backward_s,
                update_s=update_s,
                output_bytes=spec.bytes if spec else 0,
                gradient_bytes=spec.bytes if spec and spec.gradient else 0,
                parameter_bytes=captured.parameter_bytes(operation.name),
                learning_bytes=captured.learning_bytes(operation.name),
                saved_bytes=counts.saved_bytes[position],
                transient_bytes=transient[position] if transient else 0,
                flops=counts.flops[position],
                backward_flops=counts.backward_flops[position],
                in_place_share=measured.in_place_shares[position],
                accumulate_s=measured.accumulation_s[position] - measured.casting_s[position],
                weight_gradients_s=backward_s * measured.split.share(position),
                splitting_s=backward_s * measured.split.longer(position),
                left_bytes=measured.split.held_bytes.get(position, 0),
                cast_bytes=counts.cast_bytes[position],
                features=can[operation.name][0],
                uncuttable=can[operation.name][1],
                part_of=owner if owner in captured.sliced else "",
                alone_s=alone.layer_s(position) if alone else None,
                forward=shares.timings["forward", position],
                backward=shares.timings["backward", position],
                update=shares.timings["update", position],
            )
        )
    return tuple(records)


def _loss(shares: StepShares, alone: StepShares | None) -> Loss:
    return Loss(
        alone_s=alone.layer_s(LOSS) if alone else None,
        forward_s=shares.costs_s["forward", LOSS],
        backward_s=shares.costs_s["backward", LOSS],
        forward=shares.timings["forward", LOSS],
        backward=shares.timings["backward", LOSS],
    )


SIZES_BYTES = tuple(4096 * 4**power for power in range(8))  # 4 KiB … 64 MiB
COPIES = 9


def measure_copy_cost(clock: Callable[[], float]) -> CopyCost:
    """Return the median time of a slot copy for each of ``SIZES_BYTES``, from memory that was just written."""
    return CopyCost(sizes_bytes=SIZES_BYTES, copy_s=tuple(_copy_s(size, clock) for size in SIZES_BYTES))


def _copy_s(size: int, clock: Callable[[], float]) -> float:
    """Return the median time of filling a slot with so many bytes that were just written; the first counts not."""
    elements = size // torch.float32.itemsize
    spec = TensorSpec(name="probe", shape=(elements,), stride=(1,), dtype=torch.float32, gradient=False)
    source = torch.zeros(elements)
    slot = slot_tensors(mmap.mmap(-1, size), 0, [spec])
    times = []
    for _ in range(1 + COPIES):
        source.add_(1.0)
        start = clock()
        fill(slot, [source])
        times.append(clock() - start)
    return statistics.median(times[1:])
