"""The records that a comparison is worked out from: the runs as they were measured."""

from dataclasses import dataclass
from typing import Literal

from optimizer.plan import Share
from optimizer.schedule import Kind
from profiler.profile import Seconds
from runtime.results import SamplesPerS, StageMeasurement

Series = Literal["alone", "main"]
Span = tuple[Kind, int, float, float]
"""An action: its kind, its minibatch, and when it started and ended, in seconds from the run's first start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run of one partition or baseline.

    Attributes:
        series: ``main`` are the interleaved rounds; ``alone`` ran the stages one at a time.
        round: Which one of the series, from 1.
        seconds: How long it took, warm-up included.
        slowed_samples_per_s: As in ``RunResult``.
        foreign_load: Share of the time in which the core of ``one core`` worked for others; a partition's stages have
            theirs.
        failure: Why there is nothing else, in one sentence; None where it ran.
        timeline: For each stage its first actions; kept of a partition's first run only.
    """

    series: Series
    round: int
    name: str
    seconds: Seconds
    throughput_samples_per_s: SamplesPerS = 0.0
    slowed_samples_per_s: SamplesPerS | None = None
    foreign_load: Share = 0.0
    makespan_s: Seconds = 0.0
    stages: tuple[StageMeasurement, ...] = ()
    failure: str | None = None
    timeline: tuple[tuple[Span, ...], ...] = ()
