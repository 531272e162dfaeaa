"""Run plans: build the model once, hand each stage its slice, run the schedule, and gather what happened.

The initial weights lie in one shared memory for as long as the model is being compared; every run starts from them, so
all partitions begin alike.
"""

import math
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from optimizer.plan import Plan, scheduled
from optimizer.schedule import (
    ASYNCHRONOUS,
    FLUSH_EVERY,
    RankLayout,
    Schedule,
    ScheduleName,
    StageRequirements,
    groups,
    requirements_of,
    schedule_of,
)
from profiler.execution import Captured, Segment, fill, slot_bytes, slot_offsets, slot_tensors, spec_of
from profiler.profile import INPUT
from profiler.settings import UpdateRule
from runtime.channels import Cut, Rendezvous, SharedMemory, channel_bytes, notification_sockets
from runtime.cluster import all_reports, placed, reading
from runtime.errors import InputError
from runtime.pipeline.memory_check import available_bytes, refuse_too_little_memory
from runtime.pipeline.outcome import digests_by_stage, losses_of, result_of
from runtime.pipeline.stages import slices
from runtime.results import ChannelName, RunResult
from runtime.supervisor import Watch, WorkerPool
from runtime.worker import DataSpec, Export, Go, Load, MinibatchDigests, OnNan, Unload, refuse_other_data

if TYPE_CHECKING:
    from runtime.cluster import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How plans are run.

    Attributes:
        flush_every: Minibatches an update, where the schedule flushes.
        data: ``package.module:factory`` of the user's own data; synthetic without one.
        vocabulary: Synthetic inputs are whole numbers below it; 0 for floats.
        record_digests: Whether stages keep digests of gradients and buffers.
    """

    rule: UpdateRule
    seed: int
    schedule: ScheduleName = "1f1b"
    flush_every: int = FLUSH_EVERY
    channel: ChannelName = "shm"
    data: str = ""
    vocabulary: int = 0
    on_nan: OnNan = "stop"
    record_digests: bool = False


class Launcher:
    """Runs plans of one captured model on a pool of stage processes; other ranks may have the rest of the stages.

    Attributes:
        session: The ranks that run the plan together, each a stage; None where all stages are here.
        minibatch_digests: Of each stage of the last run, if they are kept.
        checksums: Of the last run's minibatches, if they came from a loader.
        diverged: Whether any run had a loss that was no finite number.
    """

    def __init__(
        self,
        captured: Captured,
        pool: WorkerPool,
        settings: Settings,
        watch: Watch | None = None,
        session: "Session | None" = None,
    ) -> None:
        """Move the model's parameters and buffers to shared memory; the model keeps only their shapes."""
        self.captured, self.pool, self.settings, self._watch, self.session = captured, pool, settings, watch, session
        self._rounds = 0
        self.minibatch_digests: list[tuple[MinibatchDigests, ...]] = []
        self.diverged = False
        self.checksums: tuple[int, ...] = ()
        state = _state(captured)
        self._specs = tuple(spec_of(path, tensor) for path, tensor in state.items())
        self._weights = SharedMemory.create(slot_bytes(self._specs))
        fill(self._initial(), [tensor.detach() for tensor in state.values()])
        _to_meta(captured.model)
        self._own: set[str] = set()
        self._plan: Plan
        self._schedule: Schedule

    def run(self, plan: Plan, minibatches: int, schedule: ScheduleName | None = None) -> RunResult:
        """Train for ``minibatches`` minibatches from the initial weights, and give the stages' memory back.

        Args:
            plan: What to run.
            minibatches: How many.
            schedule: Under this schedule, with room for as many weight versions as the settings' needs; None for that.

        Raises:
            InputError: The plan is of another model, input or number of stages, or does not fit into memory; or the
                user's data cannot be used.
            RunError: A stage failed.
        """
        self.load(plan, minibatches, schedule)
        result = self.go()
        self.unload()
        return result

    def load(self, plan: Plan, minibatches: int, schedule: ScheduleName | None = None) -> None:
        """Hand every stage its slice and warm it up."""
        layout, there = plan.layout, self.session.size if self.session else len(self.pool)
        if layout.size != there:
            on_ranks = "" if not layout.replicated else f" on {layout.size} ranks"
            raise InputError(
                f"the plan has {layout.stages} stages{on_ranks} for {there} processes; set --stages to match"
            )
        segments = slices(self.captured, plan)
        if layout.replicated:
            self._refuse_replicas(layout, minibatches)
        usual = schedule_of(self.settings.schedule, layout.replicas, minibatches, self.settings.flush_every)
        self._schedule = schedule_of(schedule, layout.replicas, minibatches) if schedule else usual
        self._plan = scheduled(plan, self._schedule)
        # Under another schedule the ring of versions stays as long, so that writing one costs the same.
        requirements = [
            replace(own, versions=max(own.versions, other.versions))
            for own, other in zip(requirements_of(self._schedule), requirements_of(usual), strict=True)
        ]
        here = self._on_this_host(layout)
        refuse_too_little_memory(self._plan, requirements, self.settings.channel, *available_bytes(), stages=here)
        self.pool.describe_with(lambda rank: _described(plan, rank))
        if self.session:
            self.session.all_gather(self._topic("ready"), b"")  # so that none waits long for another's process
        self._hand_over(segments, self._schedule, requirements)
        own = [(plan.stages[stage], requirements[stage]) for stage in map(layout.stage_of, self.pool.ranks)]
        self.pool.collect([stage.compute_s * (requirement.in_flight + 1) for stage, requirement in own])

    def go(self) -> RunResult:
        """Run the plan that is loaded."""
        plan, schedule = self._plan, self._schedule
        before = reading(self.session)
        self.pool.tell_all(Go())
        own = [plan.stages[plan.layout.stage_of(rank)] for rank in self.pool.ranks]
        longest = [max(stage.forward_s, stage.backward_s, stage.update_s + stage.all_reduce_s) for stage in own]
        here = [answer.report for answer in self.pool.follow(longest, self._watch) if answer.report]
        found = placed(self.session, self.pool.cores, here, before, reading(self.session))
        if self.session:
            found = all_reports(self.session, self._topic("reports"), found)
        reports = [one.report for one in found]
        self.minibatch_digests = digests_by_stage(schedule.layout, reports)
        self.checksums = max((report.checksums for report in reports), key=len)
        for report in reports:
            refuse_other_data(self.data_spec(schedule.minibatches), self.checksums, report.checksums)
        self.diverged |= any(not math.isfinite(loss) for loss in losses_of(schedule.layout, reports))
        return result_of(plan, schedule, found, rule=self.settings.rule, channel=self.settings.channel)

    def state(self) -> dict[str, Tensor]:
        """Return the trained parameters and the buffers by path, from the stages that are loaded.

        Where other ranks have stages, only rank 0 gets theirs; on the others those are as they were before training.
        """
        target = SharedMemory.create(slot_bytes(self._specs))
        tensors = slot_tensors(target.memory, 0, self._specs)
        fill(tensors, self._initial())  # which no layer uses stays as it was
        try:
            for stage in range(len(self.pool)):
                self.pool.tell(stage, Export(), (target.descriptor,))
            self.pool.collect()
            if self.session:
                self.session.put_together(self._topic("state"), memoryview(target.memory), self._own_regions())
        finally:
            target.close()
        return {spec.name: tensor for spec, tensor in zip(self._specs, tensors, strict=True)}

    def initial_state(self) -> dict[str, Tensor]:
        """Return copies of the parameters and buffers that every run starts from, by path."""
        return {spec.name: tensor.clone() for spec, tensor in zip(self._specs, self._initial(), strict=True)}

    def data_spec(self, minibatches: int) -> DataSpec:
        """Return which data a run of so many minibatches trains on."""
        given = self.captured.specs[INPUT]
        return DataSpec(
            factory=self.settings.data,
            shape=given.shape,
            dtype=given.dtype,
            vocabulary=self.settings.vocabulary,
            classes=self.captured.classes,
            minibatches=minibatches,
            seed=self.settings.seed,
        )

    def unload(self) -> None:
        """Let the stages forget the plan and give its memory back."""
        self.pool.tell_all(Unload())
        self.pool.collect()

    def restart(self) -> None:
        """Start the stage processes anew, after a run that failed has ended them."""
        self.pool.restart()

    def close(self) -> None:
        """Let go of the initial weights."""
        self._weights.close()

    def _initial(self) -> list[Tensor]:
        return slot_tensors(self._weights.memory, 0, self._specs)

    def _rendezvous(self) -> Rendezvous | None:
        if self.settings.channel != "gloo":
            return None
        if self.session:
            return self.session.rendezvous
        return self.pool.rendezvous()

    def _topic(self, name: str) -> str:
        """Return a name that no exchange between ranks has had before."""
        self._rounds += 1
        return f"{name} {self._rounds}"

    def _on_this_host(self, layout: RankLayout) -> tuple[int, ...]:
        """Return the stages whose memory is this host's, one for each rank."""
        ranks = self.pool.ranks
        if self.session:
            ranks = tuple(one.rank for one in self.session.members if one.boot == self.session.here.boot)
        return tuple(map(layout.stage_of, ranks))

    def _refuse_replicas(self, layout: RankLayout, minibatches: int) -> None:
        """Refuse to run replicated stages where they cannot.

        Raises:
            InputError: They cannot.
        """
        most = max(layout.replicas)
        if self.settings.schedule != ASYNCHRONOUS:
            raise InputError(
                f"the plan has replicated stages, which --schedule {self.settings.schedule} does not know; leave it out"
            )
        if self.settings.channel != "gloo":
            raise InputError("the plan has replicated stages, which need messages between ranks; add --channel gloo")
        if minibatches < most:
            raise InputError(f"the plan has a stage on {most} ranks and there are {minibatches} minibatches; add some")

    def _own_regions(self) -> list[tuple[int, int]]:
        """Return where the stages that are here keep what they train in the memory of all weights: offset and bytes."""
        starts = slot_offsets(0, self._specs)
        return [(start, spec.bytes) for spec, start in zip(self._specs, starts, strict=True) if spec.name in self._own]

    def _hand_over(
        self, segments: Sequence[Segment], schedule: Schedule, requirements: Sequence[StageRequirements]
    ) -> None:
        """Tell every stage what to become."""
        last = len(segments) - 1
        cuts = [
            Cut(
                segments[at].sends,
                requirements[at].activation_slots,
                requirements[at].gradient_slots,
                requirements[at + 1].in_flight,
            )
            for at in range(last)
        ]
        rendezvous = self._rendezvous()
        layout = schedule.layout
        here = [segments[layout.stage_of(rank)] for rank in self.pool.ranks if layout.replica_of(rank) == 0]
        self._own = {path for segment in here for path in (*segment.parameters, *segment.constants)}
        shared = self.settings.channel == "shm"
        memories: list[SharedMemory] = []
        sockets: list[tuple[socket.socket, socket.socket]] = []
        try:
            for cut in cuts if shared else []:
                memories.append(SharedMemory.create(channel_bytes(cut)))
                sockets.append(notification_sockets())
            for at, rank in enumerate(self.pool.ranks):
                stage = layout.stage_of(rank)
                load = Load(
                    rank=rank,
                    layout=layout,
                    segment=segments[stage],
                    state=self._specs,
                    actions=schedule.rows[rank],
                    versions=requirements[stage].versions,
                    in_flight=requirements[stage].in_flight,
                    group_sizes=_group_sizes(schedule),
                    before=cuts[stage - 1] if stage else None,
                    behind=cuts[stage] if stage < last else None,
                    channel=self.settings.channel,
                    rendezvous=rendezvous,
                    rule=self.settings.rule,
                    data=self.data_spec(schedule.minibatches),
                    on_nan=self.settings.on_nan,
                    record_digests=self.settings.record_digests,
                )
                descriptors = [self._weights.descriptor]
                if stage and shared:
                    descriptors += [memories[stage - 1].descriptor, sockets[stage - 1][1].fileno()]
                if stage < last and shared:
                    descriptors += [memories[stage].descriptor, sockets[stage][0].fileno()]
                self.pool.tell(at, load, tuple(descriptors))
        finally:
            # The stages hold their own copies; with ours closed, a stage that dies is noticed by its neighbours.
            for memory in memories:
                memory.close()
            for pair in sockets:
                for notifications in pair:
                    notifications.close()


def _described(plan: Plan, rank: int) -> str:
    """Return what a rank runs, in words."""
    stage = plan.stages[plan.layout.stage_of(rank)]
    replica = f", replica {plan.layout.replica_of(rank)}" if stage.replicas > 1 else ""
    return f"stage {plan.layout.stage_of(rank)}{replica} ({stage.layers[0]} … {stage.layers[-1]})"


def _group_sizes(schedule: Schedule) -> tuple[int, ...]:
    """Return for each minibatch how many are averaged in its update."""
    if schedule.flush_every is None:
        return (1,) * schedule.minibatches
    return tuple(len(group) for group in groups(schedule.minibatches, schedule.flush_every) for _ in group)


def _state(captured: Captured) -> dict[str, Tensor]:
    named = [*captured.model.named_parameters(), *captured.model.named_buffers()]
    return dict(named)


def _to_meta(model: nn.Module) -> None:
    """Replace every parameter and buffer by its shape; what is tied stays tied, and so has one path as before."""
    shapes: dict[Tensor, Tensor] = {}

    def shape_of(tensor: Tensor) -> Tensor:
        if tensor not in shapes:
            parameter = isinstance(tensor, nn.Parameter)
            bare = tensor.to("meta")
            shapes[tensor] = nn.Parameter(bare, tensor.requires_grad) if parameter else bare
        return shapes[tensor]

    for module in model.modules():
        held: list[dict[str, Any]] = [module._parameters, module._buffers]  # noqa: SLF001 - as nn.Module.to does
        for named in held:
            named.update({local: shape_of(tensor) for local, tensor in named.items() if tensor is not None})
