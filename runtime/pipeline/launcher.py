"""Run plans: build the model once, hand each stage its slice, run the schedule, and gather what happened.

The initial weights lie in one shared memory for as long as the model is being compared; every run starts from them, so
all partitions begin alike.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from optimizer.plan import Plan, scheduled
from optimizer.schedule import ASYNCHRONOUS, RankLayout, Schedule, ScheduleName, requirements_of, schedule_of
from profiler.capture import made
from profiler.execution import (
    Captured,
    OwnLoss,
    Segment,
    TensorSpec,
    count_name,
    fill,
    moment_name,
    slot_bytes,
    slot_offsets,
    slot_tensors,
    spec_of,
)
from profiler.machine import available_bytes, physical_core, uninterrupted
from profiler.profile import INPUT
from runtime.channels import Rendezvous, SharedMemory
from runtime.cluster import Session, all_reports, placed, reading
from runtime.errors import InputError
from runtime.pipeline.feed import Feed
from runtime.pipeline.load_messages import loads
from runtime.pipeline.memory_check import refuse_too_little_memory
from runtime.pipeline.model_keys import without_tensors
from runtime.pipeline.outcome import Outcome, outcome_of, training_result
from runtime.pipeline.read_minibatches import Reader, batch_norm_of, refuse_other_data
from runtime.pipeline.stage_segments import slices
from runtime.results import RunResult, TrainingResult
from runtime.supervisor import Watch, WorkerPool
from runtime.worker import POOL, DataSpec, Export, Go, Settings, StageReport, Unload


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
        self.session: Session = session or Session()
        self.diverged = False
        self._rounds = 0
        state: dict[str, Tensor] = {**dict(captured.model.named_parameters()), **dict(captured.model.named_buffers())}
        self.captured = without_tensors(captured, list(state.values()))
        self._model = tuple(spec_of(path, tensor) for path, tensor in state.items())
        self._weights: SharedMemory | None = None
        self.start_from(state, 0)

    def __enter__(self) -> Self:
        """Return the launcher."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Let go of the initial weights."""
        if self._weights:
            self._weights.close()

    def start_from(self, state: Mapping[str, Tensor], updates: int) -> None:
        """Let every later run start from these parameters and buffers, by path, with momenta and counts if any."""
        if self._weights:
            self._weights.close()
        self._state, self._updates = tuple(spec_of(name, tensor) for name, tensor in state.items()), updates
        self._weights = SharedMemory.create(slot_bytes(self._state))
        fill(self._initial(), [tensor.detach() for tensor in state.values()])

    def run(self, plan: Plan, minibatches: int, schedule: ScheduleName | None = None) -> RunResult:
        """Train for ``minibatches`` minibatches from the initial weights, and give the stages' memory back.

        Raises:
            InputError, RunError: As ``loaded``.
        """
        with self.loaded(plan, minibatches, schedule) as loaded:
            return loaded.run().result

    @contextmanager
    def loaded(
        self,
        plan: Plan,
        minibatches: int,
        schedule: ScheduleName | None = None,
        target: TensorSpec | None = None,
    ) -> Iterator["LoadedPlan"]:
        """Hand every stage its slice and warm it up; at the end of the context, give its memory back.

        Args:
            plan: What to run.
            minibatches: How many.
            schedule: Under this schedule, with room for as many weight versions as the settings' needs; None for that.
            target: What targets look like, if this process is going to read minibatches; None: as the settings' data.

        Raises:
            InputError: The plan is of another model, input or number of stages, or does not fit into memory; or the
                user's data cannot be used.
            RunError: A stage failed.
        """
        layout = plan.layout
        self._refuse_layout(layout, minibatches)
        segments = slices(self.captured, plan)
        reader = self.reader() if self.settings.data and target is None else None
        if reader:
            with redirect_stdout(sys.stderr):
                target = reader.target_spec()
        pace = self.settings.pace
        usual = schedule_of(pace.name, layout.replicas, minibatches, pace.update_every)
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
        assert self._weights
        with loads(
            segments, chosen, requirements, self._weights, self._state, updates=self._updates,
            settings=self.settings, data=self.data_spec(minibatches), target=target, here=self.pool.ranks,
            rendezvous=self._rendezvous(),
            taking_turns=[physical_core(core) for core in self.pool.cores if self.settings.clock == "virtual"],
        ) as (all_loads, ends):  # fmt: skip
            for at, rank in enumerate(self.pool.ranks):
                self.pool.tell(at, all_loads[rank])
        own = [(plan.stages[stage], requirements[stage]) for stage in map(layout.stage_of, self.pool.ranks)]
        feed = Feed(ends, chosen.pace.update_every)
        try:
            self.pool.collect([stage.compute_s * (requirement.in_flight + 1) for stage, requirement in own])
            yield LoadedPlan(self, planned, chosen, segments, feed=feed, reader=reader)
            self.pool.tell_all(Unload())
            self.pool.collect()
        finally:
            feed.close()

    def carry_out(self, plan: Plan, go: Go, feed: Feed) -> list[StageReport]:
        """Run the plan that is loaded, feeding it meanwhile, and return what all stages report.

        Raises:
            RunError: A stage failed.
            InputError: The user's data cannot be used.
        """
        before = reading(self.session)
        self.pool.tell_all(go)
        own = [plan.stages[plan.layout.stage_of(rank)] for rank in self.pool.ranks]
        longest = [max(stage.forward_s, stage.backward_s, stage.update_s + stage.all_reduce_s) for stage in own]
        here = [answer.report for answer in self.pool.follow(longest, self._watch, feed) if answer.report]
        here = [replace(report, checksums=feed.checksums) for report in here]
        stamped = placed(self.session, self.pool.cores, here, before, reading(self.session))
        reports = all_reports(self.session, self.topic("reports"), stamped)
        for report in reports:
            refuse_other_data(feed.name, feed.checksums, report.report.checksums)
        return reports

    def export(self, segments: Sequence[Segment], layout: RankLayout, *, momenta: bool) -> dict[str, Tensor]:
        """Return the parameters and buffers of the whole model by path, as the stages that are loaded have them.

        Args:
            segments: Of each stage.
            layout: Which rank runs what.
            momenta: Whether to return momenta and counts, too.
        """
        specs = (*self._model, *self._momenta()) if momenta else self._model
        target = SharedMemory.create(slot_bytes(specs))
        tensors = slot_tensors(target.memory, 0, specs)
        held = {spec.name: tensor for spec, tensor in zip(self._state, self._initial(), strict=True)}
        kept = [(tensor, held[spec.name]) for spec, tensor in zip(specs, tensors, strict=True) if spec.name in held]
        fill(*zip(*kept, strict=True))  # which no layer uses stays as it was
        here = [segments[layout.stage_of(rank)] for rank in self.pool.ranks if layout.replica_of(rank) == 0]
        own = {path for segment in here for path in (*segment.parameters, *segment.constants)}
        starts = zip(specs, slot_offsets(0, specs), strict=True)
        regions = [(start, spec.bytes) for spec, start in starts if spec.name.partition("@")[0] in own]
        try:
            with uninterrupted():
                self.pool.tell_all(Export(target, specs))
                self.pool.collect()
            self.session.put_together(self.topic("state"), memoryview(target.memory), regions)
        finally:
            target.close()
        return {spec.name: tensor for spec, tensor in zip(specs, tensors, strict=True)}

    def _momenta(self) -> Iterator[TensorSpec]:
        """Yield what momenta and counts look like."""
        for spec in self._model:
            if spec.name in self.captured.learning:
                for number in range(self.settings.rule.momenta):
                    yield replace(spec, name=moment_name(spec.name, number))
                yield spec_of(count_name(spec.name), torch.tensor(0))

    def initial_state(self) -> dict[str, Tensor]:
        """Return copies of the parameters and buffers that every run starts from, by path."""
        return {spec.name: tensor.clone() for spec, tensor in zip(self._state, self._initial(), strict=True)}

    def data_spec(self, minibatches: int) -> DataSpec:
        """Return which data the stages of a run of so many minibatches make themselves."""
        inputs = self.captured.specs[INPUT]
        return DataSpec(
            shape=inputs.shape,
            dtype=inputs.dtype,
            vocabulary=self.settings.vocabulary,
            classes=self.captured.classes,
            pool=min(POOL, minibatches),
            seed=self.settings.seed,
        )

    @property
    def data_name(self) -> str:
        """What to call the data of the settings."""
        return f"the data of '{self.settings.data}'"

    def reader(self) -> Reader:
        """Return what reads the data that the settings name, from the beginning.

        Raises:
            ModelError: The factory cannot be found or raises.
            InputError: What it returns cannot be iterated.
        """
        with redirect_stdout(sys.stderr):
            return self.read(made(self.settings.data, self.settings.seed), self.data_name, compared=True)

    def read(self, iterable: Any, name: str, *, compared: bool = False) -> Reader:
        """Return what reads minibatches of this model from ``iterable``, which is called ``name``.

        Args:
            iterable: What yields them.
            name: What to call it in messages.
            compared: Whether they are to be compared with those of another reading.

        Raises:
            InputError: It cannot be iterated.
        """
        classes = None if isinstance(self.captured.loss, OwnLoss) else self.captured.classes
        compared |= self.session.distributed
        batch_norm = batch_norm_of(self.captured)
        return Reader(iterable, self.captured.specs[INPUT], classes, name, batch_norm=batch_norm, compared=compared)

    def share(self, value: float) -> float:
        """Return what the process that leads has for ``value``."""
        return self.session.exchange(self.topic("value"), value, float)[0]

    def restart(self) -> None:
        """Start the stage processes anew, after a run that failed has ended them."""
        self.pool.restart()

    def topic(self, name: str) -> str:
        """Return a name that no exchange of this session has had before."""
        self._rounds += 1
        return f"{name} {self._rounds}"

    def _initial(self) -> list[Tensor]:
        assert self._weights
        return slot_tensors(self._weights.memory, 0, self._state)

    def _rendezvous(self) -> Rendezvous | None:
        if self.settings.channel != "gloo" and not self.settings.rule.clip_norm:
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
        schedule = self.settings.pace.name
        if schedule != ASYNCHRONOUS:
            raise InputError(f"the plan has replicated stages, which --schedule {schedule} does not know; leave it out")
        if self.settings.channel != "gloo":
            raise InputError("the plan has replicated stages, which need messages between ranks; add --channel gloo")
        if minibatches < most:
            raise InputError(f"the plan has a stage on {most} ranks and there are {minibatches} minibatches; add some")


class LoadedPlan:
    """A plan whose stages are loaded and warm."""

    def __init__(
        self,
        launcher: Launcher,
        plan: Plan,
        schedule: Schedule,
        segments: Sequence[Segment],
        *,
        feed: Feed,
        reader: Reader | None,
    ) -> None:
        """Remember what is loaded, and what reads minibatches for it, if the settings name any."""
        self._launcher, self._plan, self._schedule, self._segments = launcher, plan, schedule, segments
        self._feed, self._reader = feed, reader

    def run(self) -> Outcome:
        """Train from the initial weights, and return what happened.

        Raises:
            RunError: A stage failed.
            InputError: The user's data cannot be used.
        """
        launcher, minibatches = self._launcher, self._schedule.minibatches
        told = self._reader is not None and launcher.settings.channel == "shm"
        go = Go(None if told else minibatches, recorded=self._schedule.listed)
        self._feed.begin(self._reader, minibatches, announced=told, exact=True)
        with redirect_stdout(sys.stderr):  # what user code prints is no result
            reports = launcher.carry_out(self._plan, go, self._feed)
        if self._feed.failure:
            raise self._feed.failure
        outcome = outcome_of(self._plan, self._schedule, reports, launcher.settings)
        launcher.diverged |= outcome.diverged
        return outcome

    def train(self, reader: Reader, limit: int | None, first: int) -> tuple[TrainingResult, InputError | None]:
        """Train on from the weights that the stages have, until there are no more minibatches.

        Returns:
            What was trained, and why reading ended before it should have, if it did.

        Args:
            reader: What reads them.
            limit: How many at most; None: all there are. Over gloo it has to be said, and to be right.
            first: How many have been trained on before.

        Raises:
            RunError: A stage failed.
            InputError: Over gloo, the data cannot be used.
        """
        launcher, feed = self._launcher, self._feed
        told = launcher.settings.channel == "shm"
        assert told or limit is not None
        feed.begin(reader, limit, announced=told, exact=not told)
        try:
            reports = launcher.carry_out(self._plan, Go(None if told else limit, first), feed)
            return training_result(self._plan.layout, reports, feed.samples), feed.failure
        finally:
            feed.begin(None)  # which lets go of the loader and its processes

    def stop(self) -> None:
        """Read no more minibatches: what has been read is the last that is trained on.

        Raises:
            KeyboardInterrupt: The stages have been told how many there are.
        """
        self._feed.stop()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the parameters and buffers by path, as they are now.

        Where other ranks have stages, only rank 0 gets theirs; on the others those are as they were before training.
        """
        return self._launcher.export(self._segments, self._schedule.layout, momenta=False)

    def training_state(self) -> dict[str, Tensor]:
        """Return all that training goes on from: as ``state_dict``, with momenta and counts beside the parameters."""
        return self._launcher.export(self._segments, self._schedule.layout, momenta=True)


def _described(plan: Plan, rank: int) -> str:
    """Return what a rank runs, in words."""
    stage = plan.stages[plan.layout.stage_of(rank)]
    replica = f", replica {plan.layout.replica_of(rank)}" if stage.replicas > 1 else ""
    return f"stage {plan.layout.stage_of(rank)}{replica} ({stage.layers[0]} … {stage.layers[-1]})"
