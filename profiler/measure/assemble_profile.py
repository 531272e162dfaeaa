"""Put what was measured together into a profile."""

import mmap
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import torch

from profiler.capture import sliceable
from profiler.execution import Captured, OwnLoss, TensorSpec, fill, slot_tensors
from profiler.machine import this_machine
from profiler.measure.memory import Memory
from profiler.measure.neighbours import REST_EVERY
from profiler.measure.round_timer import RoundTimer
from profiler.profile import INPUT, CopyCost, Layer, Loss, Profile, typed_for
from profiler.rounds import (
    LOSS,
    USUAL,
    closure_error,
    doubt_of,
    foreign_load,
    layer_times,
    step_costs,
    step_totals,
)
from profiler.rounds.shares import Part
from profiler.settings import Config


def profile_of(
    config: Config,
    captured: Captured,
    core: int,
    rounds: RoundTimer,
    *,
    saved: Sequence[int],
    memory: Memory | None,
    copy_cost: CopyCost,
) -> Profile:
    """Return the profile of a model, given what each layer saves, in bytes: each layer's times, bytes and memory."""
    samples = rounds.samples
    costs_s, alone_s = _costs(rounds)
    whole_step_s = float(np.median(rounds.alone.whole_step or samples.whole_step))
    doubt = doubt_of(layer_times(samples), config.stages, *USUAL)
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
        core=core,
        layers=_layers(captured, rounds, (costs_s, alone_s), saved),
        edges=captured.edges,
        inseparable=captured.inseparable,
        outputs=captured.outputs,
        loss=Loss(
            forward_s=costs_s["forward", LOSS],
            backward_s=costs_s["backward", LOSS],
            alone_s=alone_s.get(LOSS),
            rounds_s=samples.took_s(LOSS),
        ),
        copy_cost=copy_cost,
        input_bytes=captured.specs[INPUT].bytes,
        peak_memory_bytes=memory.peak_bytes if memory else None,
        whole_step_s=whole_step_s,
        neighbours=rounds.neighbours,
        beside_s=whole_step_s * _times_beside(rounds),
        closure_error=closure_error(samples),
        rounds=len(samples.whole_step),
        uncertainty=doubt.spread,
        regret=doubt.regret,
        foreign_load=foreign_load(samples.whole_step, samples.whole_step_cpu),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        typed=typed_for(config.typed, captured.form),
    )


def _times_beside(rounds: RoundTimer) -> float:
    """Return how many times as long a plain step takes beside busy cores as just before beside none."""
    pairs = zip(rounds.samples.whole_step[::REST_EVERY], rounds.alone.whole_step, strict=False)
    return float(np.median([beside_s / alone_s for beside_s, alone_s in pairs] or [1.0]))


def _costs(rounds: RoundTimer) -> tuple[dict[Part, float], dict[int, float]]:
    """Return what each part of a step takes, and each layer beside no busy core; nothing where no core was busy."""
    costs_s = step_costs(rounds.samples)
    if not rounds.alone.forward:
        return costs_s, {}
    pairs = zip(step_totals(rounds.alone), step_totals(rounds.samples)[::REST_EVERY], strict=True)
    faster = float(np.median([alone_s / beside_s if beside_s else 1.0 for alone_s, beside_s in pairs]))
    alone_s: dict[int, float] = {}
    for (_, position), cost_s in step_costs(rounds.alone, scale_s=faster * sum(costs_s.values())).items():
        alone_s[position] = alone_s.get(position, 0.0) + cost_s
    return costs_s, alone_s


def _layers(
    captured: Captured, rounds: RoundTimer, costs: tuple[dict[Part, float], dict[int, float]], saved: Sequence[int]
) -> tuple[Layer, ...]:
    can, (costs_s, alone_s) = sliceable(captured), costs
    records = []
    for position, operation in enumerate(captured.operations):
        spec = captured.specs.get(operation.name)
        backward_s = costs_s["backward", position]
        records.append(
            Layer(
                name=operation.name,
                kind=operation.kind,
                forward_s=costs_s["forward", position],
                backward_s=backward_s,
                update_s=costs_s["update", position],
                output_bytes=spec.bytes if spec else 0,
                gradient_bytes=spec.bytes if spec and spec.gradient else 0,
                parameter_bytes=captured.parameter_bytes(operation.name),
                learning_bytes=captured.learning_bytes(operation.name),
                saved_bytes=saved[position],
                in_place_share=rounds.in_place_shares[position],
                accumulate_s=rounds.accumulation_s[position] - rounds.casting_s[position],
                weight_gradients_s=backward_s * rounds.share(position),
                splitting_s=backward_s * rounds.longer(position),
                left_bytes=rounds.held_bytes.get(position, 0),
                cast_bytes=min(rounds.cast_bytes[position], saved[position]),  # a bias is cast, and not kept
                features=can[operation.name][0],
                uncuttable=can[operation.name][1],
                alone_s=alone_s.get(position),
                rounds_s=rounds.samples.took_s(position),
            )
        )
    return tuple(records)


SMALL_BYTES, LARGE_BYTES = 4 << 10, 16 << 20
COPIES = 9


def measure_copy_cost() -> CopyCost:
    """Return what copies into a slot cost, from memory that was just written, by one small and one large."""
    small_s, large_s = _copy_s(SMALL_BYTES), _copy_s(LARGE_BYTES)
    return CopyCost(latency_s=small_s, s_per_byte=max(0.0, large_s - small_s) / LARGE_BYTES)


def _copy_s(size: int) -> float:
    """Return the median time of filling a slot with so many bytes that were just written; the first counts not."""
    elements = size // torch.float32.itemsize
    spec = TensorSpec(name="probe", shape=(elements,), stride=(1,), dtype=torch.float32, gradient=False)
    source = torch.zeros(elements)
    slot = slot_tensors(mmap.mmap(-1, size), 0, [spec])
    times = []
    for _ in range(1 + COPIES):
        source.add_(1.0)
        start = time.perf_counter()
        fill(slot, [source])
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
