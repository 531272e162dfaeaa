"""Put what was measured together into a profile."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from profiler.capture import sliceable
from profiler.execution import Captured, Operation, OwnLoss
from profiler.machine import this_machine
from profiler.measure.count_work import Counts
from profiler.measure.memory import Memory
from profiler.measure.statistics import drift, foreign_load, timing
from profiler.measure.stepper import LOSS, Samples
from profiler.measure.time_budget import uncertainty
from profiler.profile import INPUT, CopyCost, Layer, Loaded, Loss, Lowered, Peaks, Profile, parts_s
from profiler.settings import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMeasurements:
    """What was measured of some layers, in order; ``loaded`` are the rounds beside busy cores, if any."""

    samples: Samples
    counts: Counts
    in_place_shares: Sequence[float]
    accumulation_s: Sequence[float]
    casting_s: Sequence[float]
    transient_bytes: Sequence[int] | None
    loaded: Samples = field(default_factory=Samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All that was measured of one model, with ``neighbours`` busy cores meanwhile in ``layers.loaded``.

    ``check_s`` is how long its layers were held against the model before.
    """

    config: Config
    captured: Captured
    core: int
    affinity: tuple[int, ...]
    copy_cost: CopyCost
    peaks: Peaks
    memory: Memory | None
    layers: LayerMeasurements
    neighbours: int
    check_s: float
    lower: "MeasuredLower | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredLower:
    """What was measured of the same model under autocast."""

    captured: Captured
    memory: Memory | None
    layers: LayerMeasurements
    cast_cost: CopyCost


def profile_of(measured: Measured) -> Profile:
    """Return the profile of a model: each layer's times as medians with their spread, bytes, operations and memory."""
    config, captured = measured.config, measured.captured
    samples, loaded = measured.layers.samples, measured.layers.loaded
    layers = layer_records(captured, captured.operations, measured.layers)
    loss = _loss(measured.layers)
    whole_step = timing(samples.whole_step)
    return Profile(
        model=config.name,
        model_digest=captured.digest,
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
        layers=layers,
        lowered=_lowered(measured.lower) if measured.lower else None,
        edges=captured.edges,
        inseparable=captured.inseparable,
        ties=captured.ties,
        outputs=captured.outputs,
        loss=loss,
        copy_cost=measured.copy_cost,
        peaks=measured.peaks,
        input_bytes=captured.specs[INPUT].bytes,
        peak_memory_bytes=measured.memory.peak_bytes if measured.memory else None,
        whole_step_s=whole_step.median_s,
        whole_step=whole_step,
        neighbours=measured.neighbours,
        check_s=measured.check_s,
        loaded_step=timing(loaded.whole_step) if loaded.whole_step else None,
        closure_error=(parts_s(layers, loss) - whole_step.median_s) / whole_step.median_s,
        rounds=len(samples.whole_step),
        uncertainty=uncertainty(samples),
        drift=drift(samples.whole_step),
        foreign_load=foreign_load(samples.whole_step, samples.whole_step_cpu),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        typed=config.typed,
    )


def _lowered(measured: MeasuredLower) -> Lowered:
    layers = layer_records(measured.captured, measured.captured.operations, measured.layers)
    loss, whole_step = _loss(measured.layers), timing(measured.layers.samples.whole_step)
    return Lowered(
        layers=layers,
        loss=loss,
        cast_cost=measured.cast_cost,
        whole_step_s=whole_step.median_s,
        whole_step=whole_step,
        closure_error=(parts_s(layers, loss) - whole_step.median_s) / whole_step.median_s,
        peak_memory_bytes=measured.memory.peak_bytes if measured.memory else None,
    )


def layer_records(
    captured: Captured, operations: Sequence[Operation], measured: LayerMeasurements
) -> tuple[Layer, ...]:
    """Return what was measured of some layers, in the order of ``operations``."""
    can, samples, counts, transient = sliceable(captured), measured.samples, measured.counts, measured.transient_bytes
    records = []
    for position, operation in enumerate(operations):
        spec = captured.specs.get(operation.name)
        forward, backward, update = (
            timing(store[position]) for store in (samples.forward, samples.backward, samples.update)
        )
        owner = operation.name.rpartition(".")[0]
        records.append(
            Layer(
                name=operation.name,
                kind=operation.kind,
                module=operation.module,
                forward_s=forward.median_s,
                backward_s=backward.median_s,
                update_s=update.median_s,
                output_bytes=spec.bytes if spec else 0,
                gradient_bytes=spec.bytes if spec and spec.gradient else 0,
                parameter_bytes=captured.parameter_bytes(operation.name),
                learning_bytes=captured.learning_bytes(operation.name),
                saved_bytes=counts.saved_bytes[position],
                transient_bytes=transient[position] if transient else 0,
                flops=counts.flops[position],
                backward_flops=counts.backward_flops[position],
                touched_bytes=counts.touched_bytes[position],
                backward_touched_bytes=counts.backward_touched_bytes[position],
                in_place_share=measured.in_place_shares[position],
                accumulate_s=measured.accumulation_s[position] - measured.casting_s[position],
                autocast=operation.autocast == "on",
                cast_s=measured.casting_s[position],
                cast_bytes=counts.cast_bytes[position],
                features=can[operation.name][0],
                uncuttable=can[operation.name][1],
                part_of=owner if owner in captured.sliced else "",
                loaded=_loaded(
                    measured.loaded, position, alone_s=forward.median_s + backward.median_s + update.median_s
                ),
                forward=forward,
                backward=backward,
                update=update,
            )
        )
    return tuple(records)


def _loss(measured: LayerMeasurements) -> Loss:
    samples = measured.samples
    forward, backward = (timing(store[LOSS]) for store in (samples.forward, samples.backward))
    return Loss(
        forward_s=forward.median_s,
        backward_s=backward.median_s,
        loaded=_loaded(measured.loaded, LOSS, alone_s=forward.median_s + backward.median_s),
        forward=forward,
        backward=backward,
    )


def _loaded(samples: Samples, position: int, alone_s: float) -> Loaded | None:
    """Return the medians beside neighbours; the loss has no update."""
    if not samples.whole_step:
        return None
    stores = (samples.forward, samples.backward, samples.update)
    forward_s, backward_s, update_s = (float(np.median(store.get(position, [0.0]))) for store in stores)
    beside_s = forward_s + backward_s + update_s
    return Loaded(
        forward_s=forward_s,
        backward_s=backward_s,
        update_s=update_s,
        slowdown=beside_s / alone_s if alone_s else 1.0,
    )
