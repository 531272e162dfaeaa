"""The comparison of several partitions of one model: a frozen dataclass that is a JSON file, and all a report needs.

``runs`` and ``alone`` are what was measured, in order; everything else about partitions is worked out from them, so an
unfinished file says where to go on. Seconds, bytes and samples throughout; what is per stage is per minibatch.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from optimizer.plan import Plan
from optimizer.schedule import Schedule, schedule_of
from profiler.profile import FP32, Layer, Machine, Name, Seconds
from profiler.shown import Shown
from runtime.compare.race import slower_than_the_leader
from runtime.compare.records import Request, RunRecord
from runtime.results import Clock, StageMeasurement

FORMAT_VERSION: Literal[10] = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The median of some runs with a 95% bootstrap interval."""

    median: float
    low: float
    high: float
    runs: Annotated[tuple[float, ...], Meta(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageComparison:
    """One stage of one partition: what was predicted, and what was measured.

    Attributes:
        predicted_s: What it is busy with in a minibatch.
        busy_s: The same measured, the median over the runs.
        measured: Medians over the runs, the largest of the peaks.
        alone_s: Forward, backward and update while no other stage worked; None where that was not measured.
    """

    predicted_s: float
    busy_s: float
    measured: StageMeasurement
    alone_s: float | None
    predicted_memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionComparison:
    """One partition: its plan, what was predicted for it and what was measured.

    Attributes:
        plan: The split under the schedule that ran.
        same_as: The partition that has the same split and whose runs these are, or None where it ran itself.
        throughput_samples_per_s: None where no run of it came through; likewise ``makespan_s``.
        slowed_samples_per_s: The throughput with every stage as much slower as its layers were beside busy neighbours
            in the profile; None where it has no such times, or on the wall clock.
        ratio: How many times as fast the reference ran, round by round; None where no round has both.
        rank: 1 for the fastest; partitions that noise cannot tell apart share one. None where noise, or too few rounds
            with the reference, leave its place open. ``runtime.compare.ranking`` says how.
        failures: Of its runs, each in one sentence.
        stages: Empty where no run of it came through.
    """

    name: Name
    cuts: tuple[str, ...]
    plan: Plan
    same_as: str | None
    predicted_throughput_samples_per_s: float
    predicted_makespan_s: float
    throughput_samples_per_s: Spread | None = None
    slowed_samples_per_s: float | None = None
    makespan_s: Spread | None = None
    ratio: Spread | None = None
    rank: int | None = None
    failures: tuple[str, ...] = ()
    stages: tuple[StageComparison, ...] = ()

    @property
    def minibatches(self) -> int:
        """Of each of its runs."""
        return self.plan.predicted.minibatches

    @property
    def actions(self) -> Schedule:
        """The schedule of each of its runs."""
        plan = self.plan
        return schedule_of(plan.schedule, plan.num_stages, self.minibatches, plan.update_every)

    @property
    def ran_as(self) -> str:
        """The partition whose runs these are."""
        return self.same_as or self.name


ONE_CORE = "one core"


@dataclass(frozen=True, slots=True, kw_only=True)
class OneCore:
    """The model's plain step on one core that does nothing else: what a pipeline has to beat, and the yardstick.

    Attributes:
        profiled_s: What the step took when the model was profiled.
        throughput_samples_per_s: On the wall clock, once in every round.
        ratio: How many times as fast the reference ran, round by round.
        drift: The step now ÷ the step when it was profiled − 1, the median over the rounds; None where it never ran.
        foreign_load: Share of the time in which the core worked for others, the largest of the rounds.
    """

    profiled_s: Seconds
    precision: str = FP32
    throughput_samples_per_s: Spread | None = None
    ratio: Spread | None = None
    drift: float | None = None
    foreign_load: float = 0.0
    failures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineComparison:
    """A baseline, run on the same cores in the same rounds.

    Attributes:
        tuned: Whether it ran under our process settings; otherwise as installed.
        update_every: How many minibatches an update takes.
        ratio: How many times as fast the reference ran, round by round.
    """

    name: Name
    tuned: bool
    update_every: int
    throughput_samples_per_s: Spread | None = None
    ratio: Spread | None = None
    failures: tuple[str, ...] = ()

    @property
    def semantics(self) -> str:
        """What one update is."""
        every = "a minibatch" if self.update_every == 1 else f"for {self.update_every} minibatches"
        return f"synchronous, one update {every}"

    @property
    def row(self) -> str:
        """The baseline's name, with how it was set up."""
        return f"{self.name}, {'tuned' if self.tuned else 'as installed'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitAudit:
    """Where the prediction of one split was wrong: ``measured_s`` − ``predicted_s`` is the sum of the five parts.

    Attributes:
        error: Predicted ÷ measured throughput − 1; above 0 it promised too much.
        error_without_drift: The same, had the machine been as fast as when the model was profiled; None where no round
            has the yardstick.
        predicted_s: Seconds a minibatch in the steady state; likewise ``measured_s``.
        stage: The stage that was busiest, which the parts are about.
        drift_s: What the machine was slower than when the model was profiled; 0 without a yardstick.
        compute_s: What it took longer alone than predicted.
        contention_s: What it took longer beside the others than alone; None where that was not measured, and then part
            of ``compute_s``.
        transfer_s: What its copies took longer than predicted.
        schedule_s: What it waited, or was kept from its core, longer than predicted.
    """

    partition: str
    error: float
    error_without_drift: float | None
    predicted_s: float
    measured_s: float
    stage: int
    drift_s: float
    compute_s: float
    contention_s: float | None
    transfer_s: float
    schedule_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Prediction against measurement over the distinct splits that ran.

    Attributes:
        mean_absolute_error: Of the throughput, as a share; None where stages shared cores on the wall clock or nothing
            ran. Likewise ``mean_absolute_error_without_drift``, which takes the yardstick, too.
        spearman: Rank correlation of predicted and measured throughput; None for fewer than three splits, too.
        verdict: What that says, in words.
    """

    mean_absolute_error: float | None
    mean_absolute_error_without_drift: float | None
    spearman: float | None
    splits: tuple[SplitAudit, ...]
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Shown):
    """Several partitions of one model, run in turn on the same cores.

    Attributes:
        request: What was asked for; ``request.repeats`` are the rounds, ``rounds`` those that are done.
        clock: ``virtual`` where stages took turns on the cores: then times of partitions are those of a machine with a
            core for every stage, worked out from what each action took.
        core_count: How many physical cores the stages had.
        comparable: Whether every stage had a physical core of its own, or the virtual clock stood in for it; nothing
            else.
        left_out: What does not run, and why: partitions that the model does not allow, baselines that want more cores.
        forms: What was chosen of precision and slices, in sentences; nothing where nothing was.
        reference: The partition that ratios are about.
        order: The distinct splits, fastest first, as ``runtime.compare.ranking`` puts them.
        profile_warnings: What casts doubt on the profile behind the predictions.
        command: What was typed; ``typed``, the options in it that name the model and its minibatch.
        layers: As profiled, all whole, without the samples.
    """

    request: Request
    model_digest: str
    clock: Clock
    core_count: int
    comparable: bool
    left_out: tuple[str, ...]
    forms: str = ""
    reference: str
    machine: Machine
    began_at: str
    command: str
    typed: tuple[str, ...] = ()
    profile_warnings: tuple[str, ...]
    layers: tuple[Layer, ...]
    partitions: Annotated[tuple[PartitionComparison, ...], Meta(min_length=1)]
    order: tuple[str, ...]
    one_core: OneCore
    baselines: tuple[BaselineComparison, ...]
    runs: tuple[RunRecord, ...]
    audit: Audit
    format_version: Literal[10] = FORMAT_VERSION
    table: ClassVar[str] = "runtime.report.comparison_table:show_comparison"

    @property
    def rounds(self) -> int:
        """The number of rounds that are done."""
        return self.race()[0]

    @property
    def dropped(self) -> dict[str, int]:
        """Who is out of the race, each with the round after which it was."""
        return self.race()[1]

    def race(self) -> tuple[int, dict[str, int]]:
        """Return how many rounds are done, and whom they have dropped, each with the round after which it was.

        Splits race against each other; a baseline races against all. The reference, which ratios are about, and the
        yardstick run in every round.
        """
        have = {(run.round, run.name) for run in self.runs if run.series == "main"}
        done, dropped = 0, dict[str, int]()
        while done < self.request.repeats and all(
            (done + 1, name) in have for name in self.contenders if name not in dropped
        ):
            done += 1
            if not self.request.full:
                dropped |= dict.fromkeys(self._slower_after(done, dropped), done)
        return done, dropped

    def _slower_after(self, done: int, dropped: Collection[str]) -> list[str]:
        """Return whom one more round drops."""
        speeds: dict[str, dict[int, float]] = {name: {} for name in self.contenders if name != ONE_CORE}
        for run in self.runs:
            if run.name in speeds and run.series == "main" and run.failure is None and run.round <= done:
                speeds[run.name][run.round] = run.throughput_samples_per_s
        racing = speeds.keys() - dropped
        splits = {name: speeds[name] for name in self.splits}
        slower = slower_than_the_leader(splits, racing & splits.keys(), done)
        slower += set(slower_than_the_leader(speeds, racing, done)) - splits.keys()
        return [name for name in slower if name != self.reference]

    @property
    def splits(self) -> tuple[str, ...]:
        """The partitions that run: one for each distinct split."""
        return tuple(part.name for part in self.partitions if part.same_as is None)

    @property
    def contenders(self) -> tuple[str, ...]:
        """All contenders: the distinct splits, one core, and the baselines."""
        return (*self.splits, ONE_CORE, *(baseline.row for baseline in self.baselines))

    def own_layer(self, name: str) -> str:
        """Return the model's own layer that a layer of a plan is, or is a block or the concat of."""
        return name if any(layer.name == name for layer in self.layers) else name.rpartition(".")[0]

    def part(self, name: str) -> PartitionComparison | None:
        """Return the partition of that name, if there is one."""
        return next((part for part in self.partitions if part.name == name), None)

    @property
    def ours(self) -> PartitionComparison:
        """The partition that ratios are about."""
        return next(part for part in self.partitions if part.name == self.reference)

    @property
    def standing(self) -> tuple[PartitionComparison, ...]:
        """The distinct splits, fastest first."""
        return tuple(part for name in self.order if (part := self.part(name)))

    @property
    def complete(self) -> bool:
        """Whether every round that was asked for is done."""
        return self.rounds >= self.request.repeats
