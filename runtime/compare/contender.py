"""Who takes part in a comparison, with its runs, and what these come to: medians, intervals, failures.

Seconds, bytes and samples throughout; what is per stage is per minibatch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from statistics import median
from typing import Annotated, Any

from msgspec import Meta

from optimizer.plan import Plan, Share
from profiler.profile import Name, Seconds
from runtime.results import Bar, SamplesPerS, StageMeasurement

ONE_CORE = "one core"
"""The contender that is the model's plain step on one core, which does nothing else: what a pipeline has to beat."""
Rounds = Mapping[int, float]
"""Throughput by round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run of one contender.

    Attributes:
        number: Which of all runs of the comparison, from 0, in the order in which they were.
        round: Which one, from 1.
        seconds: How long it took, warm-up included.
        foreign_load: Share of the time in which the core of ``one core`` worked for others; a split's stages have
            theirs.
        failure: Why there is nothing else, in one sentence; None where it ran.
        timeline: For each stage its first actions; kept of a split's first run only.
    """

    number: Annotated[int, Meta(ge=0)]
    round: int
    name: str
    seconds: Seconds
    throughput_samples_per_s: SamplesPerS = 0.0
    foreign_load: Share = 0.0
    makespan_s: Seconds = 0.0
    stages: tuple[StageMeasurement, ...] = ()
    failure: str | None = None
    timeline: tuple[tuple[Bar, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageComparison:
    """One stage of one split: what was predicted, and what was measured.

    Attributes:
        predicted_s: What it is busy with in a minibatch.
        busy_s: The same measured, the median over the runs.
        measured: Medians over the runs, the largest of the peaks.
    """

    predicted_s: float
    busy_s: float
    measured: StageMeasurement
    predicted_memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Contender:
    """What runs: a split, the plain step on one core, or plain PyTorch with a thread for each core.

    Attributes:
        split: The plan of a split, under the schedule that runs; None of what trains the whole model in one process.
        same_as: Which split has the same cuts and runs for this one, which does not; None where it runs itself.
        threads: How many what runs unsplit has; 0 of a split.
        runs: In their order.
    """

    name: Name
    split: Plan | None = None
    same_as: str | None = None
    threads: Annotated[int, Meta(ge=0)] = 0
    runs: tuple[RunRecord, ...] = ()

    @property
    def plan(self) -> Plan:
        """The plan; of splits only."""
        assert self.split is not None
        return self.split

    @property
    def ran_as(self) -> str:
        """The name of whose runs count."""
        return self.same_as or self.name

    @property
    def failures(self) -> tuple[str, ...]:
        """Of its runs, each in one sentence."""
        return tuple(run.failure for run in self.runs if run.failure is not None)

    @property
    def by_round(self) -> Rounds:
        """The throughput of each round that it came through."""
        return {run.round: run.throughput_samples_per_s for run in self._ran}

    @property
    def makespan_s(self) -> Seconds | None:
        """The median of a split's runs; None where no run came through."""
        return median(run.makespan_s for run in self._ran) if self._ran else None

    @property
    def foreign_load(self) -> float:
        """Share of the time in which the core of ``one core`` worked for others, the largest of the rounds."""
        return max((run.foreign_load for run in self.runs), default=0.0)

    @property
    def predicted_throughput_samples_per_s(self) -> float:
        """What its plan promises."""
        return self.plan.predicted.promised_samples_per_s

    @cached_property
    def stages(self) -> tuple[StageComparison, ...]:
        """Of a split, each stage; nothing where no run came through."""
        measured = [run.stages for run in self._ran]
        count = len(self.plan.stages) if measured else 0
        return tuple(self._stage(index, [run[index] for run in measured]) for index in range(count))

    @property
    def figures(self) -> dict[str, Any]:
        """What a split's runs come to, for readers of a file, beside what was predicted."""
        if not self.split:
            return {}
        return {
            "cuts": self.split.cuts, "makespan_s": self.makespan_s, "stages": self.stages,
            "predicted_throughput_samples_per_s": self.predicted_throughput_samples_per_s,
        }  # fmt: skip

    @property
    def _ran(self) -> list[RunRecord]:
        return [run for run in self.runs if run.failure is None]

    def _stage(self, index: int, measurements: Sequence[StageMeasurement]) -> StageComparison:
        planned = self.plan.stages[index]
        names = [field.name for field in fields(StageMeasurement) if field.name != "peak_rss_bytes"]
        peaks = [own.peak_rss_bytes for own in measurements if own.peak_rss_bytes is not None]
        return StageComparison(
            predicted_s=planned.total_s * planned.ease,
            busy_s=median(own.busy_s for own in measurements),
            measured=StageMeasurement(
                **{name: median(getattr(own, name) for own in measurements) for name in names},
                peak_rss_bytes=max(peaks) if peaks else None,
            ),
            predicted_memory_bytes=planned.memory_bytes,
        )


def one_core() -> Contender:
    """Return the plain step on one core, which has not run yet."""
    return Contender(name=ONE_CORE, threads=1)


def plain_pytorch(threads: int) -> Contender:
    """Return plain PyTorch with so many threads, which has not run yet."""
    return Contender(name=f"plain PyTorch, {threads} threads", threads=threads)
