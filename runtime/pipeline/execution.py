"""Execute plans: load one onto the stage processes, run or train it, hand out its state, unload it.

An execution has one captured model and a pool of processes; other ranks may have the rest of the stages. The state that
training starts from lies in one shared memory, so all partitions begin alike. Where it stands is one of

    ready     the processes are there, and the state in shared memory is what the next run starts from
    loaded    stages have their slices of a plan, and hold the state
    ended     a stage has failed: the processes are gone, and the state that they held
"""

import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from torch import Tensor

from optimizer.plan import Plan, scheduled
from optimizer.schedule import Schedule, requirements_of, schedule_of
from profiler.capture import made
from profiler.execution import Captured, Segment, TensorSpec, spec_of
from profiler.machine import available_bytes, physical_core, uninterrupted
from profiler.profile import INPUT
from runtime.channels import Rendezvous
from runtime.errors import Drained, InputError
from runtime.hosts import Session, agree_on_weights
from runtime.pipeline.feed import Feed
from runtime.pipeline.load_messages import loads
from runtime.pipeline.model_keys import without_tensors
from runtime.pipeline.outcome import Outcome, outcome_of, training_result
from runtime.pipeline.read_minibatches import Reader, refuse_other_data
from runtime.pipeline.reader_thread import PATIENCE_S, ReaderThread
from runtime.pipeline.shared_state import SharedState, momenta_specs
from runtime.pipeline.stage_segments import refuse_too_little_memory, slices
from runtime.results import RunResult, TrainingResult
from runtime.supervisor import Watch, WorkerPool
from runtime.worker import POOL, Common, DataSpec, Export, Go, Report, Settings, Unload

Phase = Literal["ready", "loaded", "ended"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the stages have.

    Attributes:
        plan: Under the schedule that runs.
        schedule: What runs.
        segments: Of each stage.
        target: What targets look like that this process feeds to them; None where stages make them.
        feed: What hands out minibatches.
        reader: What reads them, if the settings name data.
    """

    plan: Plan
    schedule: Schedule
    segments: Sequence[Segment]
    target: TensorSpec | None
    feed: Feed
    reader: Reader | None


class Execution:
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
        *,
        start: Mapping[str, Tensor] | None = None,
        updates: int = 0,
    ) -> None:
        """Copy what training starts from to shared memory; ``captured`` stays as it is.

        Args:
            captured: The model, with its initial parameters and buffers.
            pool: The processes that stages run in.
            settings: How to run.
            watch: Called now and then with what every stage is doing.
            session: With whom this process runs plans; None: alone.
            start: What every run starts from, with momenta and counts if any; None: the model's own.
            updates: How many updates that had.
        """
        self.pool, self.settings, self._watch = pool, settings, watch
        self.session: Session = session or Session()
        self.diverged = False
        self._updates = updates
        state: dict[str, Tensor] = {**dict(captured.model.named_parameters()), **dict(captured.model.named_buffers())}
        self.captured = without_tensors(captured, list(state.values()))
        self._model = tuple(spec_of(path, tensor) for path, tensor in state.items())
        self._start = SharedState.of(state if start is None else start)
        self._loaded: Loaded | None = None
        self._reading = ReaderThread()

    def __enter__(self) -> Self:
        """Return the execution."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Let go of the state; the stages keep what they have until their processes end."""
        self._let_go()
        self._start.close()
        self._reading.close()

    @property
    def phase(self) -> Phase:
        """Where the execution stands."""
        return "loaded" if self._loaded and len(self.pool) else "ready" if len(self.pool) else "ended"

    @property
    def target(self) -> TensorSpec | None:
        """What targets look like that this process feeds to the stages; None where nothing is loaded for any."""
        return self._loaded.target if self._loaded else None

    def start_from(self, state: Mapping[str, Tensor], updates: int) -> None:
        """Let later runs start from these parameters and buffers, by path, with momenta and counts if any."""
        self.unload()
        self._start.close()
        self._start, self._updates = SharedState.of(state), updates

    def load(
        self,
        plan: Plan,
        minibatches: int,
        target: TensorSpec | None = None,
    ) -> None:
        """Hand every stage its slice and warm it up.

        Args:
            plan: What to run.
            minibatches: How many.
            target: What targets look like, if this process is going to read minibatches; None: as the settings' data.
        """
        settings = self.settings
        assert self._loaded is None, "what is loaded is unloaded first"
        segments = slices(self.captured, plan)
        reader = self.reader() if settings.data and target is None else None
        if reader:
            with redirect_stdout(sys.stderr):
                target = reader.target_spec()
        pace = replace(settings.pace, meets=bool(settings.rule.clip_norm))
        chosen = schedule_of(pace, len(plan.stages), minibatches)
        planned, requirements = scheduled(plan, chosen), requirements_of(chosen)
        here = [stage for stage in range(len(plan.stages)) if self._on_this_host(stage)]
        refuse_too_little_memory(planned, requirements, settings.channel, *available_bytes(), stages=here)
        self.pool.describe = lambda stage: _described(plan, stage)
        self.session.exchange(None, type(None))  # so that none waits long for another's process
        common = Common(
            stages=len(plan.stages), pace=chosen.pace, weights=self._start.memory, state=self._start.specs,
            updates=self._updates,
            rendezvous=self._rendezvous(), settings=settings, data=self.data_spec(minibatches),
        )  # fmt: skip
        turns = [physical_core(core) for core in self.pool.cores if settings.clock == "virtual"]
        with loads(common, segments, requirements, target, here=self.pool.ranks, taking_turns=turns) as (
            all_loads,
            ends,
        ):
            for at, rank in enumerate(self.pool.ranks):
                self.pool.tell(at, all_loads[rank])
        feed = Feed(ends, chosen.pace.update_every, lambda: self.session.stopping)
        self._loaded = Loaded(planned, chosen, segments, target, feed, reader)
        own = [(plan.stages[stage], requirements[stage]) for stage in self.pool.ranks]
        try:
            self.pool.collect([stage.compute_s * (requirement.in_flight + 1) for stage, requirement in own])
        except BaseException:
            self._let_go()
            raise

    def unload(self) -> None:
        """Give the stages' memory back, if they have a plan; what they hold is lost."""
        try:
            if self.phase == "loaded":
                self.pool.tell_all(Unload())
                self.pool.collect()
        finally:
            self._let_go()

    @contextmanager
    def loaded(self, plan: Plan, minibatches: int) -> Iterator[Self]:
        """Load a plan for as long as the context lasts; arguments and errors as of ``load``."""
        self.load(plan, minibatches)
        try:
            yield self
            self.unload()
        finally:
            self._let_go()

    def run(self, plan: Plan, minibatches: int) -> RunResult:
        """Train for ``minibatches`` minibatches from the initial weights, and give the stages' memory back."""
        with self.loaded(plan, minibatches):
            return self.run_loaded().result

    def run_loaded(self) -> Outcome:
        """Train the plan that is loaded from the initial weights, and return what happened."""
        loaded = self._now()
        minibatches, feed = loaded.schedule.minibatches, loaded.feed
        told = loaded.reader is not None and self.settings.channel == "shm"
        feed.begin(loaded.reader, minibatches, announced=told, exact=True)
        with redirect_stdout(sys.stderr):  # what user code prints is no result
            reports = self._carry_out(loaded, Go(None if told else minibatches, recorded=True))
        if feed.failure:
            raise feed.failure
        outcome = outcome_of(loaded.plan, loaded.schedule, reports, self.settings)
        self.diverged |= None in outcome.result.losses
        return outcome

    def train(
        self, reader: Reader, limit: int | None, before: tuple[int, int]
    ) -> tuple[TrainingResult, int, InputError | Drained | None]:
        """Train on from the weights that the stages have, until there are no more minibatches.

        Returns:
            What was trained, on how many parts of minibatches, and why it ended before it should have, if it did:
            reading failed, or a rank was told to end.

        Args:
            reader: What reads them.
            limit: How many at most; None: all there are.
            before: On how many minibatches, and parts of them, it has been trained before.
        """
        loaded = self._now()
        feed = loaded.feed
        feed.begin(reader, limit, announced=True, first=before[0])
        try:
            reports = self._carry_out(loaded, Go(None, before[1], unread=feed.take_unread()))
            failure: InputError | Drained | None = feed.failure
            if any(report.stopping for report in reports):
                failure = Drained(signal.SIGTERM)
            return *training_result(reports), failure
        finally:
            feed.begin(None)  # which lets go of the loader and its processes

    def stop(self) -> None:
        """Read no more minibatches, on any rank: what has been read is the last that is trained on."""
        self._now().feed.stop()
        self.session.stop()

    def initial_state(self) -> dict[str, Tensor]:
        """Return copies of the parameters and buffers that every run starts from, by path."""
        return self._start.copies()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the parameters and buffers by path, as they are now.

        Where other ranks have stages, only rank 0 gets theirs; on the others those are as they were before training.
        """
        return self._export(self._model) if self.phase == "loaded" else self.initial_state()

    def training_state(self) -> dict[str, Tensor]:
        """Return all that training goes on from: as ``state_dict``, with momenta and counts beside."""
        if self.phase != "loaded":
            return self.initial_state()
        momenta = momenta_specs(self._model, self.captured.learning, self.settings.rule.momenta)
        return self._export((*self._model, *momenta))

    def _export(self, specs: Sequence[TensorSpec]) -> dict[str, Tensor]:
        """Return these tensors of the whole model as the stages have them."""
        loaded, target, start = self._now(), SharedState(specs), self._start.tensors()
        tensors = target.tensors()
        for name in tensors.keys() & start.keys():
            tensors[name].copy_(start[name])  # which no layer uses stays as it was
        here = [loaded.segments[stage] for stage in self.pool.ranks]
        own = {path for segment in here for path in (*segment.parameters, *segment.constants)}
        try:
            with uninterrupted():
                self.pool.tell_all(Export(target.memory, target.specs))
                self.pool.collect()
            self.session.put_together(memoryview(target.memory.memory), target.regions(own))
        finally:
            target.close()
        return tensors

    def _carry_out(self, loaded: Loaded, go: Go) -> list[Report]:
        """Run the plan that is loaded, feeding it meanwhile, and return what all stages report."""
        plan, feed = loaded.plan, loaded.feed
        self.pool.tell_all(replace(go, offset_s=self.session.clock()))
        own = [plan.stages[stage] for stage in self.pool.ranks]
        longest = [max(stage.forward_s, stage.backward_s, stage.update_s) for stage in own]
        here = [report for report in self.pool.follow(longest, self._watch, feed) if report]
        boot, stopping = self.session.members[self.session.rank].boot, self.session.stopping
        stamped = [
            replace(
                report,
                checksums=feed.checksums,
                stopping=stopping,
                physical_core=(boot, *physical_core(report.run.core)),
            )
            for report in here
        ]
        reports = [report for rank in self.session.exchange(stamped, list[Report]) for report in rank]
        for report in reports:
            refuse_other_data(feed.name, feed.checksums, report.checksums)
        return reports

    def data_spec(self, minibatches: int) -> DataSpec:
        """Return which data the stages of a run of so many minibatches make themselves."""
        inputs = self.captured.specs[INPUT]
        return DataSpec(
            shape=inputs.shape,
            vocabulary=self.settings.vocabulary,
            classes=self.captured.classes,
            labels=self.captured.labels,
            pool=min(POOL, minibatches),
            seed=self.settings.seed,
            sample=self.captured.sample,
        )

    @property
    def data_name(self) -> str:
        """What to call the data of the settings."""
        return f"the data of '{self.settings.data}'"

    def reader(self) -> Reader:
        """Return what reads the data that the settings name, from the beginning."""
        with redirect_stdout(sys.stderr):
            return self.read(made(self.settings.data, self.settings.seed), self.data_name, compared=True)

    def read(self, iterable: Any, name: str, *, compared: bool = False, cut: bool = False) -> Reader:
        """Return what reads minibatches of this model from ``iterable``, which is called ``name``.

        Args:
            iterable: What yields them.
            name: What to call it in messages.
            compared: Whether they are to be compared with those of another reading.
            cut: Whether each is an update, and is cut into parts of as many samples as planned.
        """
        if self._reading.asked_s is not None:  # it hangs in the loader of a run before
            self._reading.close()
            self._reading = ReaderThread()
        return Reader(
            iterable, self.captured, name, cut=cut, compared=compared or self.session.distributed,
            patience_s=self.pool.stall_timeout_s or PATIENCE_S, thread=self._reading,
        )  # fmt: skip

    def agree_on_weights(self) -> None:
        """Refuse to go on unless every rank has built the same model with the same initial weights."""
        agree_on_weights(self.session, self.captured.digest, self.initial_state())

    def _now(self) -> Loaded:
        assert self._loaded, "a plan is loaded first"
        return self._loaded

    def _let_go(self) -> None:
        """Forget the plan that is loaded."""
        loaded, self._loaded = self._loaded, None
        if loaded:
            loaded.feed.close()

    def _rendezvous(self) -> Rendezvous | None:
        if self.settings.channel != "gloo" and not self.settings.rule.clip_norm:
            return None
        return self.session.rendezvous or self.pool.rendezvous()

    def _on_this_host(self, rank: int) -> bool:
        members = self.session.members
        return not self.session.distributed or members[rank].boot == members[self.session.rank].boot


def _described(plan: Plan, number: int) -> str:
    """Return what a stage runs, in words."""
    stage = plan.stages[number]
    return f"stage {number} ({stage.layers[0]} … {stage.layers[-1]})"
