"""What a comparison is worked out from: the runs as they were measured, and the layers' costs as they were profiled.

Seconds and bytes; what is per stage is per minibatch.
"""

from dataclasses import dataclass
from typing import Literal

from optimizer.schedule import Kind

Series = Literal["alone", "main"]
Span = tuple[Kind, int, float, float]
"""An action: its kind, its minibatch, and when it started and ended, in seconds from the run's first start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """What one layer costs, as profiled."""

    name: str
    kind: str
    forward_s: float
    backward_s: float
    update_s: float
    output_bytes: int
    parameter_bytes: int
    flops: int

    @property
    def step_s(self) -> float:
        """What one minibatch costs in this layer: forward, backward and update."""
        return self.forward_s + self.backward_s + self.update_s


@dataclass(frozen=True, slots=True, kw_only=True)
class StageMeasurement:
    """What one stage did in one run.

    Attributes:
        forward_s: Processor time, copies excluded; likewise ``backward_s`` and ``update_s``.
        send_s: Time spent copying into slots.
        wait_s: Time spent waiting for neighbours.
        foreign_load: Share of its working time in which the core worked for others.
        peak_rss_bytes: Peak resident size above the process before the stage came; None where the kernel keeps no peak.
    """

    forward_s: float
    backward_s: float
    update_s: float
    send_s: float
    wait_s: float
    foreign_load: float
    peak_rss_bytes: int | None

    @property
    def work_s(self) -> float:
        """Forward, backward and update."""
        return self.forward_s + self.backward_s + self.update_s


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run of one partition or baseline.

    Attributes:
        series: ``main`` are the interleaved rounds; ``alone`` ran the stages one at a time.
        round: Which one of the series, from 1.
        seconds: How long it took, warm-up included.
        failure: Why there is nothing else, in one sentence; None where it ran.
        timeline: For each stage its first actions; kept of a partition's first run only.
    """

    series: Series
    round: int
    name: str
    seconds: float
    throughput_samples_per_s: float = 0.0
    makespan_s: float = 0.0
    stages: tuple[StageMeasurement, ...] = ()
    failure: str | None = None
    timeline: tuple[tuple[Span, ...], ...] = ()
