"""Run plans: build the model once, hand each stage its slice, run the schedule, and gather what happened.

The initial weights lie in one shared memory for as long as the model is being compared; every run starts from them, so
all partitions begin alike.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

from torch import Tensor, nn

from optimizer.plan import Plan, scheduled
from optimizer.schedule import ASYNCHRONOUS, RankLayout, Schedule, ScheduleName, requirements_of, schedule_of
from profiler.execution import Captured, Segment, fill, slot_bytes, slot_offsets, slot_tensors, spec_of
from profiler.machine import physical_core
from profiler.profile import INPUT
from runtime.channels import Rendezvous, SharedMemory
from runtime.cluster import LocalSession, Session, all_reports, placed, reading
from runtime.errors import InputError
from runtime.pipeline.load_messages import loads
from runtime.pipeline.memory_check import available_bytes, refuse_too_little_memory
from runtime.pipeline.outcome import Outcome, outcome_of
from runtime.pipeline.stage_segments import slices
from runtime.results import RunResult
from runtime.supervisor import Watch, WorkerPool
from runtime.worker import DataSpec, Export, Go, Settings, Unload, refuse_other_data


class Launcher:
    """Runs plans of one captured model on a pool of stage processes; other ranks may have the rest of the stages.

    Attributes:
        captured: The model with the shapes of its parameters and buffers only.
        session: With whom this process runs the plan.
        diverged: Whether any run had a loss that was no finite number.
    """

    def __init__(
        self,
        captured: Captured,
        pool: WorkerPool,
        settings: Settings,
        watch: Watch | None = None,
        session: Session | None = None,
    ) -> None:
        """Copy the model's parameters and buffers to shared memory; ``captured`` stays as it is."""
        self.pool, self.settings, self._watch = pool, settings, watch
        self.session: Session = session or LocalSession()
        self.diverged = False
        self._rounds = 0
        state: dict[str, Tensor] = {**dict(captured.model.named_parameters()), **dict(captured.model.named_buffers())}
        self._specs = tuple(spec_of(path, tensor) for path, tensor in state.items())
        self._weights = SharedMemory.create(slot_bytes(self._specs))
        fill(self._initial(), [tensor.detach() for tensor in state.values()])
        self.captured = _without_tensors(captured, list(state.values()))

    def __enter__(self) -> Self:
        """Return the launcher."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Let go of the initial weights."""
        self._weights.close()

    def run(self, plan: Plan, minibatches: int, schedule: ScheduleName | None = None) -> RunResult:
        """Train for ``minibatches`` minibatches from the initial weights, and give the stages' memory back.

        Raises:
            InputError, RunError: As ``loaded``.
        """
        with self.loaded(plan, minibatches, schedule) as loaded:
            return loaded.run().result

    @contextmanager
    def loaded(self, plan: Plan, minibatches: int, schedule: ScheduleName | None = None) -> Iterator["LoadedPlan"]:
        """Hand every stage its slice and warm it up; at the end of the context, give its memory back.

        Args:
            plan: What to run.
            minibatches: How many.
            schedule: Under this schedule, with room for as many weight versions as the settings' needs; None for that.

        Raises:
            InputError: The plan is of another model, input or number of stages, or does not fit into memory; or the
                user's data cannot be used.
            RunError: A stage failed.
        """
        layout = plan.layout
        self._refuse_layout(layout, minibatches)
        segments = slices(self.captured, plan)
        usual = schedule_of(self.settings.schedule, layout.replicas, minibatches, self.settings.flush_every)
        chosen = schedule_of(schedule, layout.replicas, minibatches) if schedule else usual
        planned = scheduled(plan, chosen)
        # Under another schedule the ring of versions stays as long, so that writing one costs the same.
        requirements = [
            replace(own, versions=max(own.versions, other.versions))
            for own, other in zip(requirements_of(chosen), requirements_of(usual), strict=True)
        ]
        here = [layout.stage_of(rank) for rank in range(layout.size) if self._on_this_host(rank)]
        refuse_too_little_memory(planned, requirements, self.settings.channel, *available_bytes(), stages=here)
        self.pool.describe_with(lambda rank: _described(plan, rank))
        self.session.exchange(self.topic("ready"), None, type(None))  # so that none waits long for another's process
        with loads(
            segments, chosen, requirements, self._weights, self._specs,
            settings=self.settings, data=self.data_spec(minibatches), rendezvous=self._rendezvous(),
            taking_turns=[physical_core(core) for core in self.pool.cores if self.settings.clock == "virtual"],
        ) as all_loads:  # fmt: skip
            for at, rank in enumerate(self.pool.ranks):
                self.pool.tell(at, all_loads[rank])
        own = [(plan.stages[stage], requirements[stage]) for stage in map(layout.stage_of, self.pool.ranks)]
        self.pool.collect([stage.compute_s * (requirement.in_flight + 1) for stage, requirement in own])
        yield LoadedPlan(self, planned, chosen, segments)
        self.pool.tell_all(Unload())
        self.pool.collect()

    def follow(self, plan: Plan, schedule: Schedule) -> Outcome:
        """Run the plan that is loaded, and gather what all stages report."""
        before = reading(self.session)
        self.pool.tell_all(Go())
        own = [plan.stages[plan.layout.stage_of(rank)] for rank in self.pool.ranks]
        longest = [max(stage.forward_s, stage.backward_s, stage.update_s + stage.all_reduce_s) for stage in own]
        here = [answer.report for answer in self.pool.follow(longest, self._watch) if answer.report]
        stamped = placed(self.session, self.pool.cores, here, before, reading(self.session))
        reports = all_reports(self.session, self.topic("reports"), stamped)
        outcome = outcome_of(plan, schedule, reports, self.settings)
        for report in reports:
            refuse_other_data(self.data_spec(schedule.minibatches), outcome.checksums, report.report.checksums)
        self.diverged |= any(loss is None for loss in outcome.result.losses)
        return outcome

    def export(self, segments: Sequence[Segment], layout: RankLayout) -> dict[str, Tensor]:
        """Return the parameters and buffers of the whole model by path, as the stages that are loaded have them."""
        target = SharedMemory.create(slot_bytes(self._specs))
        tensors = slot_tensors(target.memory, 0, self._specs)
        fill(tensors, self._initial())  # which no layer uses stays as it was
        here = [segments[layout.stage_of(rank)] for rank in self.pool.ranks if layout.replica_of(rank) == 0]
        own = {path for segment in here for path in (*segment.parameters, *segment.constants)}
        starts = zip(self._specs, slot_offsets(0, self._specs), strict=True)
        regions = [(start, spec.bytes) for spec, start in starts if spec.name in own]
        try:
            self.pool.tell_all(Export(target))
            self.pool.collect()
            self.session.put_together(self.topic("state"), memoryview(target.memory), regions)
        finally:
            target.close()
        return {spec.name: tensor for spec, tensor in zip(self._specs, tensors, strict=True)}

    def initial_state(self) -> dict[str, Tensor]:
        """Return copies of the parameters and buffers that every run starts from, by path."""
        return {spec.name: tensor.clone() for spec, tensor in zip(self._specs, self._initial(), strict=True)}

    def data_spec(self, minibatches: int) -> DataSpec:
        """Return which data a run of so many minibatches trains on."""
        inputs = self.captured.specs[INPUT]
        return DataSpec(
            factory=self.settings.data,
            shape=inputs.shape,
            dtype=inputs.dtype,
            vocabulary=self.settings.vocabulary,
            classes=self.captured.classes,
            minibatches=minibatches,
            seed=self.settings.seed,
        )

    def restart(self) -> None:
        """Start the stage processes anew, after a run that failed has ended them."""
        self.pool.restart()

    def topic(self, name: str) -> str:
        """Return a name that no exchange of this session has had before."""
        self._rounds += 1
        return f"{name} {self._rounds}"

    def _initial(self) -> list[Tensor]:
        return slot_tensors(self._weights.memory, 0, self._specs)

    def _rendezvous(self) -> Rendezvous | None:
        if self.settings.channel != "gloo":
            return None
        return self.session.rendezvous or self.pool.rendezvous()

    def _on_this_host(self, rank: int) -> bool:
        members = self.session.members
        return not self.session.distributed or members[rank].boot == members[self.session.rank].boot

    def _refuse_layout(self, layout: RankLayout, minibatches: int) -> None:
        """Refuse a plan for another number of processes, and replicated stages where they cannot run.

        Raises:
            InputError: It is one.
        """
        processes = len(self.session.members) if self.session.distributed else len(self.pool)
        if layout.size != processes:
            on_ranks = f" on {layout.size} ranks" if layout.replicated else ""
            raise InputError(
                f"the plan has {layout.stages} stages{on_ranks} for {processes} processes; set --stages to match"
            )
        if not layout.replicated:
            return
        most = max(layout.replicas)
        if self.settings.schedule != ASYNCHRONOUS:
            raise InputError(
                f"the plan has replicated stages, which --schedule {self.settings.schedule} does not know; leave it out"
            )
        if self.settings.channel != "gloo":
            raise InputError("the plan has replicated stages, which need messages between ranks; add --channel gloo")
        if minibatches < most:
            raise InputError(f"the plan has a stage on {most} ranks and there are {minibatches} minibatches; add some")


class LoadedPlan:
    """A plan whose stages are loaded and warm."""

    def __init__(self, launcher: Launcher, plan: Plan, schedule: Schedule, segments: Sequence[Segment]) -> None:
        """Remember what is loaded."""
        self._launcher, self._plan, self._schedule, self._segments = launcher, plan, schedule, segments

    def run(self) -> Outcome:
        """Train from the initial weights, and return what happened.

        Raises:
            RunError: A stage failed.
            InputError: The user's data cannot be used.
        """
        return self._launcher.follow(self._plan, self._schedule)

    def model_state(self) -> dict[str, Tensor]:
        """Return what the model's own ``state_dict`` would, as it is now: its keys, with sliced layers whole.

        Where other ranks have stages, only rank 0 gets theirs.
        """
        captured, tensors = self._launcher.captured, self.state_dict()
        model = copy.deepcopy(captured.model)
        for path, module in model.named_modules():
            prefix = f"{path}." if path else ""
            for local in [name for name, own in module._parameters.items() if own is not None]:  # noqa: SLF001 - filled
                tensor = tensors[captured.canonical[prefix + local]]
                module._parameters[local] = nn.Parameter(tensor, requires_grad=False)  # noqa: SLF001
            for local in [name for name, own in module._buffers.items() if own is not None]:  # noqa: SLF001
                module._buffers[local] = tensors[captured.canonical[prefix + local]]  # noqa: SLF001
        return {key: tensor.detach() for key, tensor in model.state_dict().items()}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the parameters and buffers by path, as they are now.

        Where other ranks have stages, only rank 0 gets theirs; on the others those are as they were before training.
        """
        return self._launcher.export(self._segments, self._schedule.layout)


def _described(plan: Plan, rank: int) -> str:
    """Return what a rank runs, in words."""
    stage = plan.stages[plan.layout.stage_of(rank)]
    replica = f", replica {plan.layout.replica_of(rank)}" if stage.replicas > 1 else ""
    return f"stage {plan.layout.stage_of(rank)}{replica} ({stage.layers[0]} … {stage.layers[-1]})"


def _without_tensors(captured: Captured, tensors: Sequence[Tensor]) -> Captured:
    """Return a copy with shapes in the place of ``tensors``; what is tied stays tied, and so has one path as before."""
    shapes: dict[int, Any] = {}
    for tensor in tensors:
        bare = tensor.detach().to("meta")
        shapes[id(tensor)] = nn.Parameter(bare, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else bare
    return copy.deepcopy(captured, shapes)
