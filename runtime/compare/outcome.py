"""The figures that a comparison's runs give: frozen dataclasses, worked out when asked, and written when it is kept.

Seconds, bytes and samples throughout; what is per stage is per minibatch.
"""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from optimizer.plan import Plan
from runtime.baselines import Baseline
from runtime.stage_run import StageMeasurement


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
    """

    predicted_s: float
    busy_s: float
    measured: StageMeasurement
    predicted_memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionComparison:
    """What was measured of one partition.

    Attributes:
        plan: The split under the schedule that ran.
        same_as: The partition that has the same split and whose runs these are, or None where it ran itself.
        throughput_samples_per_s: None where no run of it came through; likewise ``makespan_s``.
        ratio: How many times as fast the reference ran, round by round; None where no round has both.
        rank: 1 for the fastest; partitions that noise cannot tell apart share one. None where noise, or too few rounds
            with the reference, leave its place open. ``runtime.compare.ranking`` says how.
        failures: Of its runs, each in one sentence.
        stages: Empty where no run of it came through.
    """

    name: str
    cuts: tuple[str, ...]
    plan: Plan
    same_as: str | None
    predicted_throughput_samples_per_s: float
    predicted_makespan_s: float
    throughput_samples_per_s: Spread | None
    makespan_s: Spread | None
    ratio: Spread | None
    rank: int | None
    failures: tuple[str, ...]
    stages: tuple[StageComparison, ...]

    @property
    def ran_as(self) -> str:
        """The partition whose runs these are."""
        return self.same_as or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class OneCoreComparison:
    """What was measured of the plain step on one core.

    Attributes:
        throughput_samples_per_s: On the wall clock, once in every round.
        ratio: How many times as fast the reference ran, round by round.
        foreign_load: Share of the time in which the core worked for others, the largest of the rounds.
    """

    throughput_samples_per_s: Spread | None
    ratio: Spread | None
    foreign_load: float
    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineComparison:
    """What was measured of a baseline; ``ratio``: how many times as fast the reference ran, round by round."""

    baseline: Baseline
    throughput_samples_per_s: Spread | None
    ratio: Spread | None
    failures: tuple[str, ...]

    @property
    def row(self) -> str:
        """The baseline's name, with how it was set up."""
        return self.baseline.row


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitAudit:
    """Where the prediction of one split was wrong: ``measured_s`` − ``predicted_s`` is the sum of the three parts.

    Attributes:
        error: Predicted ÷ measured throughput − 1; above 0 it promised too much.
        settled_error: The same, had the machine been as fast in each run as when the model was profiled.
        kept: Whether that throughput lies in the interval that was promised; None where there is none.
        predicted_s: Seconds a minibatch in the steady state; likewise ``measured_s`` and ``settled_s``.
        stage: The stage that took longest, which the parts are about.
        scale_s: What the machine was slower than when the model was profiled.
        shape_s: What that stage took longer than its share.
        schedule_s: What it waited longer than predicted.
    """

    partition: str
    error: float
    settled_error: float
    kept: bool | None
    predicted_s: float
    measured_s: float
    settled_s: float
    stage: int
    scale_s: float
    shape_s: float
    schedule_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Prediction against measurement over the distinct splits that ran.

    Attributes:
        mean_absolute_error: Of the throughput, as a share; None where stages shared cores on the wall clock or nothing
            ran. Likewise ``mean_absolute_error_settled``, with the machine's pace taken out.
        spearman: Rank correlation of predicted and settled throughput; None for fewer than three splits, too.
        pace: How many times as slow the machine was as when the model was profiled, the median over the runs; None
            where a single split ran.
        verdict: How well promises were kept, in words; ``cause``, what the error is made of.
    """

    mean_absolute_error: float | None
    mean_absolute_error_settled: float | None
    spearman: float | None
    pace: float | None
    splits: tuple[SplitAudit, ...]
    verdict: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All that follows from a comparison's plans and runs.

    Attributes:
        reference: The partition that ratios are about.
        order: The distinct splits, fastest first, as ``runtime.compare.ranking`` puts them.
    """

    reference: str
    partitions: tuple[PartitionComparison, ...]
    order: tuple[str, ...]
    one_core: OneCoreComparison
    baselines: tuple[BaselineComparison, ...]
    audit: Audit

    def part(self, name: str) -> PartitionComparison | None:
        """Return the partition of that name, if there is one."""
        return next((part for part in self.partitions if part.name == name), None)

    @property
    def ours(self) -> PartitionComparison:
        """The partition that ratios are about."""
        return next(part for part in self.partitions if part.name == self.reference)

    @property
    def came_through(self) -> tuple[PartitionComparison, ...]:
        """The distinct splits of which a run came through, fastest first."""
        return tuple(part for part in self.standing if part.throughput_samples_per_s)

    @property
    def standing(self) -> tuple[PartitionComparison, ...]:
        """The distinct splits, fastest first."""
        return tuple(part for name in self.order if (part := self.part(name)))
