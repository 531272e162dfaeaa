"""Run plans: build the model once, hand each stage its slice, run the schedule, and gather what happened.

The initial weights lie in one shared arena for as long as the model is being compared; every run starts from them, so
all partitions begin alike.
"""

import math
import socket
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from optimizer.schedule import depth, one_forward_one_backward
from optimizer.simulate import Span, makespan_s, throughput
from optimizer.types import Plan
from profiler.operations import Captured, spec_of
from profiler.process import physical_core
from profiler.provenance import machine
from profiler.slot import fill, slot_bytes, slot_tensors
from profiler.statistics import foreign_load
from profiler.types import INPUT
from profiler.update import UpdateRule
from runtime.arena import Arena
from runtime.channel import doorbells, link_bytes
from runtime.errors import InputError
from runtime.messages import Export, Go, Load, Report, Unload
from runtime.pool import WorkerPool
from runtime.slices import slices
from runtime.types import RunResult, StageRun


class Launcher:
    """Runs plans of one captured model on a pool of stage processes."""

    def __init__(self, captured: Captured, pool: WorkerPool, rule: UpdateRule, seed: int) -> None:
        """Move the model's parameters and buffers to shared memory; the model keeps only their shapes."""
        self.captured, self.pool, self.rule, self.seed = captured, pool, rule, seed
        state = _state(captured)
        self._specs = tuple(spec_of(path, tensor) for path, tensor in state.items())
        self._weights = Arena.create(slot_bytes(self._specs))
        fill(slot_tensors(self._weights.memory, 0, self._specs), [tensor.detach() for tensor in state.values()])
        _to_meta(captured.model)

    def run(self, plan: Plan, minibatches: int) -> RunResult:
        """Train for ``minibatches`` minibatches from the initial weights, and give the stages' memory back.

        Raises:
            InputError: The plan is of another model, input or number of stages.
            RunError: A stage failed.
        """
        self.load(plan, minibatches)
        result = self.go(plan, minibatches)
        self.unload()
        return result

    def load(self, plan: Plan, minibatches: int) -> None:
        """Hand every stage its slice and warm it up."""
        stages = len(plan.stages)
        if stages != len(self.pool):
            raise InputError(f"the plan has {stages} stages for {len(self.pool)} processes; set --stages to match")
        segments = slices(self.captured, plan)
        self.pool.describe_with(
            lambda stage: f"stage {stage} ({plan.stages[stage].layers[0]} … {plan.stages[stage].layers[-1]})"
        )
        schedule = one_forward_one_backward(stages, minibatches)
        slots = [depth(stage, stages, minibatches) if stage < stages - 1 else 0 for stage in range(stages)]
        arenas: list[Arena] = []
        bells: list[tuple[socket.socket, socket.socket]] = []
        try:
            for stage in range(stages - 1):
                arenas.append(Arena.create(link_bytes(segments[stage].sends, slots[stage])))
                bells.append(doorbells())
            for stage in range(stages):
                load = Load(
                    stage=stage,
                    segment=segments[stage],
                    state=self._specs,
                    actions=schedule[stage],
                    depth=depth(stage, stages, minibatches),
                    minibatches=minibatches,
                    slots_before=slots[stage - 1] if stage else 0,
                    slots_behind=slots[stage],
                    rule=self.rule,
                    seed=self.seed,
                    input_shape=self.captured.specs[INPUT].shape,
                    vocabulary=plan.vocabulary,
                    classes=self.captured.classes,
                )
                descriptors = [self._weights.descriptor]
                if stage:
                    descriptors += [arenas[stage - 1].descriptor, bells[stage - 1][1].fileno()]
                if stage < stages - 1:
                    descriptors += [arenas[stage].descriptor, bells[stage][0].fileno()]
                self.pool.tell(stage, load, tuple(descriptors))
        finally:
            # The stages hold their own copies; with ours closed, a stage that dies is noticed by its neighbours.
            for arena in arenas:
                arena.close()
            for pair in bells:
                for bell in pair:
                    bell.close()
        self.pool.collect()

    def go(self, plan: Plan, minibatches: int) -> RunResult:
        """Run the schedule that is loaded."""
        self.pool.tell_all(Go())
        reports = [answer.report for answer in self.pool.collect() if answer.report]
        spans = [
            [Span(action, record.start_s, record.end_s) for action, record in zip(actions, report.actions, strict=True)]
            for actions, report in zip(one_forward_one_backward(len(plan.stages), minibatches), reports, strict=True)
        ]
        return RunResult(
            plan=plan,
            batch_size=plan.batch_size,
            minibatches=minibatches,
            comparable=comparable(self.pool.cores),
            throughput_samples_per_s=throughput(spans, plan.batch_size),
            makespan_s=makespan_s(spans),
            losses=tuple(loss if math.isfinite(loss) else None for loss in reports[-1].losses),
            stages=tuple(
                _stage_run(report, core, minibatches) for report, core in zip(reports, self.pool.cores, strict=True)
            ),
            machine=machine(),
        )

    def state(self) -> dict[str, Tensor]:
        """Return the trained parameters and the buffers by path, from the stages that are loaded."""
        target = Arena.create(slot_bytes(self._specs))
        try:
            for stage in range(len(self.pool)):
                self.pool.tell(stage, Export(), (target.descriptor,))
            self.pool.collect()
        finally:
            target.close()
        tensors = slot_tensors(target.memory, 0, self._specs)
        return {spec.name: tensor.clone() for spec, tensor in zip(self._specs, tensors, strict=True)}

    def unload(self) -> None:
        """Let the stages forget the plan and give its memory back."""
        self.pool.tell_all(Unload())
        self.pool.collect()

    def close(self) -> None:
        """Let go of the initial weights."""
        self._weights.close()


def comparable(cores: Sequence[int]) -> bool:
    """Say whether every stage had a physical core of its own; two threads of one core are not two cores."""
    return len({physical_core(core) for core in cores}) == len(cores)


def cores_for(stages: int, usable: Sequence[int]) -> tuple[int, ...]:
    """Give every stage a core, sharing them in turn where there are too few."""
    return tuple(usable[stage % len(usable)] for stage in range(stages))


def _stage_run(report: Report, core: int, minibatches: int) -> StageRun:
    sends = {"F": 0.0, "B": 0.0, "U": 0.0}
    busy_s = 0.0
    for kind in sends:
        records = [record for record in report.actions if record.kind == kind]
        busy_s += _median([record.cpu_s for record in records])
        sends[kind] = _median([record.end_s - record.computed_s for record in records])
    return StageRun(
        core=core,
        busy_s=busy_s,
        wait_s=sum(record.wait_s for record in report.actions) / minibatches,
        send_s=sum(sends.values()),
        foreign_load=foreign_load(
            [record.end_s - record.start_s for record in report.actions], [record.cpu_s for record in report.actions]
        ),
        peak_rss_bytes=report.peak_rss_bytes,
        actions=report.actions,
    )


def _median(values: Sequence[float]) -> float:
    return float(torch.tensor(values, dtype=torch.float64).quantile(0.5))


def _state(captured: Captured) -> dict[str, Tensor]:
    named = [*captured.model.named_parameters(), *captured.model.named_buffers()]
    return dict(named)


def _to_meta(model: nn.Module) -> None:
    """Replace every parameter and buffer by its shape; ties do not matter, since binding goes by path."""
    for module in model.modules():
        for local, parameter in module._parameters.items():  # noqa: SLF001 - as nn.Module.to does
            if parameter is not None:
                module._parameters[local] = nn.Parameter(parameter.to("meta"), parameter.requires_grad)  # noqa: SLF001
        for local, buffer in module._buffers.items():  # noqa: SLF001
            if buffer is not None:
                module._buffers[local] = buffer.to("meta")  # noqa: SLF001
