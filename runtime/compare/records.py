"""The records that a comparison is worked out from: its request, who takes part, and the runs as they were measured."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from optimizer.plan import Plan, Share
from optimizer.schedule import ScheduleName
from profiler.profile import FP32, Name, Seconds
from profiler.settings import UpdateRule
from runtime.baselines import BaselineChoice
from runtime.results import Bar, ChannelName, SamplesPerS
from runtime.stage_run import StageMeasurement

ONE_CORE = "one core"
"""The contender that is the model's plain step on one core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The request that a comparison answers.

    Attributes:
        asked: The partitions, those that the model does not allow included.
        distinct_splits: Evenly spaced splits join the partitions until so many are distinct.
        minibatches: Of each run; 0 for as many as a few seconds take.
        repeats: How many rounds; a comparison with fewer is gone on with.
        full: Whether every contender runs in every round; else those only that may still be the fastest.
        baselines: Which of what a user would run instead run, too.
    """

    model: str
    batch_size: Annotated[int, Meta(ge=1)]
    input_shape: Annotated[tuple[int, ...], Meta(min_length=2)]
    minibatches: Annotated[int, Meta(ge=0)]
    num_stages: Annotated[int, Meta(ge=1)]
    cores: tuple[int, ...]
    schedule: ScheduleName
    update_every: Annotated[int, Meta(ge=1, le=100_000)]
    channel: ChannelName
    rule: UpdateRule
    data: str
    loss: str = ""
    slice: str
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    asked: tuple[str, ...]
    distinct_splits: Annotated[int, Meta(ge=0)]
    repeats: Annotated[int, Meta(ge=1)]
    full: bool
    baselines: BaselineChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One partition: its plan under the schedule that is to run.

    Attributes:
        same_as: The partition that has the same split and whose runs count for this one; None where it runs itself.
    """

    name: Name
    plan: Plan
    same_as: str | None

    @property
    def ran_as(self) -> str:
        """The partition whose runs count."""
        return self.same_as or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class OneCore:
    """The model's plain step on one core that does nothing else: what a pipeline has to beat.

    Attributes:
        profiled_s: What the step took when the model was profiled.
        precision: ``fp32``, or ``bf16`` under torch's autocast.
    """

    profiled_s: Seconds
    precision: Literal["fp32", "bf16"] = FP32


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run of one partition or baseline.

    Attributes:
        round: Which one, from 1.
        seconds: How long it took, warm-up included.
        foreign_load: Share of the time in which the core of ``one core`` worked for others; a partition's stages have
            theirs.
        failure: Why there is nothing else, in one sentence; None where it ran.
        timeline: For each stage its first actions; kept of a partition's first run only.
    """

    round: int
    name: str
    seconds: Seconds
    throughput_samples_per_s: SamplesPerS = 0.0
    foreign_load: Share = 0.0
    makespan_s: Seconds = 0.0
    stages: tuple[StageMeasurement, ...] = ()
    failure: str | None = None
    timeline: tuple[tuple[Bar, ...], ...] = ()
