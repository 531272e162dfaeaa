"""The results of running: one run, and the verification of several partitions. Frozen dataclasses that are JSON files.

Seconds, bytes and samples throughout; what is per stage is per minibatch.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from optimizer.plan import Plan, Stage
from optimizer.schedule import Kind, ScheduleName
from profiler.files import values_of
from profiler.profile import Machine, Seconds
from profiler.settings import UpdateRule
from runtime.stage_run import StageRun, StageTimes

SamplesPerS = Annotated[float, Meta(ge=0, le=1e12)]
ChannelName = Literal["shm", "gloo"]
CHANNELS: tuple[ChannelName, ...] = ("shm", "gloo")
Clock = Literal["wall", "virtual"]
CLOCKS: tuple[Clock, ...] = ("wall", "virtual")
Bar = tuple[Kind, int, float, float]
"""An action in a timeline: its kind, its minibatch, and when it started and ended, in seconds from the first start."""

RUN_FORMAT_VERSION: Literal[12] = 12
VERIFICATION_FORMAT_VERSION: Literal[9] = 9


def is_comparable(clock: Clock, core_count: int, stages: int) -> bool:
    """Say whether every stage had a physical core of its own, or the virtual clock stood in for it."""
    return clock == "virtual" or core_count >= stages


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """One run of one plan, whose schedule is the one that ran; a loss that is no finite number is None.

    Of a long run, actions and losses are those of its first minibatches, and so is what it says of each stage;
    throughput and makespan are of the whole.

    Attributes:
        recorded_minibatches: Of how many minibatches the actions and losses are kept: of all, if those are few.
        clock: ``wall``; or ``virtual`` where stages took turns on their cores and all times but processor times are
            those of a machine with a core for every stage, worked out from what each action took.
        core_count: How many physical cores the stages had.
        comparable: Whether every stage had a physical core of its own, or the virtual clock stood in for it.
        last_loss: That of the last minibatch of all.
        stages: What each rank did, stage by stage.
        machine: The first stage's.
    """

    plan: Plan
    batch_size: int
    minibatches: int
    recorded_minibatches: int
    rule: UpdateRule
    channel: ChannelName
    clock: Clock
    core_count: int
    comparable: bool
    throughput_samples_per_s: SamplesPerS
    makespan_s: Seconds
    losses: tuple[float | None, ...]
    last_loss: float | None
    stages: tuple[StageRun, ...]
    machine: Machine
    format_version: Literal[12] = RUN_FORMAT_VERSION

    def as_file(self) -> dict[str, Any]:
        """Return what is kept: itself, and beside what each stage did, its figures."""
        return values_of(self) | {"stages": [stage.as_file() for stage in self.stages]}

    def timeline(self, minibatches: int) -> tuple[tuple[Bar, ...], ...]:
        """Return what each rank did with the first so many minibatches that are recorded, to the microsecond."""
        zero_s = min(stage.actions[0].start_s for stage in self.stages if stage.actions)
        return tuple(
            tuple(
                (record.kind, record.minibatch, round(record.start_s - zero_s, 6), round(record.end_s - zero_s, 6))
                for record in stage.actions
                if record.minibatch < minibatches
            )
            for stage in self.stages
        )

    def planned(self, run: StageRun) -> Stage:
        """Return the stage as it was planned."""
        return self.plan.stages[run.stage]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """Training over some minibatches; a loss that is no finite number is None.

    Attributes:
        samples: How many samples they had.
        seconds: From the first action to the last, filling and draining the pipeline included.
        losses: One a minibatch.
        stages: What each rank did, stage by stage.
    """

    minibatches: int
    samples: int
    seconds: float
    losses: tuple[float | None, ...]
    stages: tuple[StageTimes, ...]

    @property
    def samples_per_s(self) -> float:
        """How many samples were trained on in a second."""
        return self.samples / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """sha256 digests, as another program can work them out.

    Attributes:
        losses: Of the losses, one a minibatch, as little-endian doubles; NaN for one that is no finite number.
        weights: Of all parameters in the order of ``named_parameters()``, elements in row-major order, one after the
            other; likewise ``buffers`` in the order of ``named_buffers()``.
    """

    losses: str
    weights: str
    buffers: str


ROUNDING = 1e-4
"""Largest relative difference that counts as rounding: a few updates multiply the 1e-7 of a single sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionVerification:
    """Whether one split trained what its replay trains.

    Attributes:
        identical: Whether losses, weights and buffers agree in every bit.
        first_difference: Where they part, in words.
        digests: Of what the pipeline trained; likewise ``replay_digests``.
        uncut_error: The largest relative difference of a loss, weight or buffer from what the model itself trains,
            neither captured nor cut; None where a schedule, precision or slice trains something else.
    """

    name: str
    cuts: tuple[str, ...]
    identical: bool
    first_difference: str | None
    digests: Digests
    replay_digests: Digests
    uncut_error: float | None = None

    @property
    def verified(self) -> bool:
        """Whether the split trained what its replay trains and, within rounding, what the uncut model does."""
        return self.identical and (self.uncut_error is None or self.uncut_error <= ROUNDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Several partitions of one model, each held against its replay.

    Attributes:
        seed: Of weights, data and dropout.
    """

    model: str
    batch_size: int
    input_shape: tuple[int, ...]
    minibatches: int
    num_stages: int
    schedule: ScheduleName
    update_every: int
    channel: ChannelName
    seed: int
    partitions: tuple[PartitionVerification, ...]
    format_version: Literal[9] = VERIFICATION_FORMAT_VERSION
