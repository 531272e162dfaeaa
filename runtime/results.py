"""The results of running: what a stage did, one run, training, and the verification of several partitions.

Frozen dataclasses that are JSON files; the figures of a minibatch are functions of what a stage did. Seconds, bytes and
samples throughout; what is per stage is per minibatch.
"""

from dataclasses import dataclass
from statistics import median
from typing import Annotated, Any, Literal

from msgspec import Meta

from optimizer.plan import Plan, Share
from optimizer.schedule import KIND_NAMES, Kind, ScheduleName
from profiler.files import values_of
from profiler.profile import Bytes, Machine, Seconds
from profiler.rounds import foreign_load
from profiler.settings import UpdateRule


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRecord:
    """One executed action; times are on one monotonic clock, that of the first stage's host, or on the virtual clock.

    Attributes:
        version: The weight version that it used, or that it wrote (``U``).
        wait_s: Time spent waiting for a neighbour before it started; never for a turn on the core.
        start_s: When it had all it needed; ``computed_s`` when it began to send, ``end_s`` when it was done.
        cpu_s: Processor time between start and end.
    """

    kind: Kind
    minibatch: int
    version: int
    wait_s: float
    start_s: float
    computed_s: float
    end_s: float
    cpu_s: float

    @property
    def copy_s(self) -> float:
        """How long it copied what it sent."""
        return self.end_s - self.computed_s


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimes:
    """What one stage did in the whole of a run: its times, and its peak memory.

    Attributes:
        minibatches: How many it had.
        began_s: When its first action had all it needed, and ``ended_s``, when its last was done.
        forward_s: Time in forwards, copies included; likewise ``backward_s``, ``weights_s`` and ``update_s``.
        cpu_s: Processor time in all of these.
        wait_s: Time spent waiting for neighbours and minibatches.
        peak_rss_bytes: Peak resident size above the process before the stage came; None where the kernel keeps no peak.
    """

    minibatches: int
    began_s: float
    ended_s: float
    forward_s: Seconds
    backward_s: Seconds
    weights_s: Seconds
    update_s: Seconds
    cpu_s: Seconds
    wait_s: float
    peak_rss_bytes: Bytes | None

    @property
    def work_s(self) -> float:
        """Time in all of its actions."""
        return self.forward_s + self.backward_s + self.weights_s + self.update_s

    @property
    def foreign_load(self) -> float:
        """The share of its working time in which the core worked for others."""
        return foreign_load([self.work_s], [self.cpu_s])


@dataclass(frozen=True, slots=True, kw_only=True)
class StageMeasurement:
    """One stage's times per minibatch, foreign load and peak memory in a run.

    Attributes:
        forward_s: Processor time, copies excluded; likewise ``backward_s``, ``weights_s`` and ``update_s``.
        send_s: Time spent copying into slots.
        took_s: Time in all of these as a clock on the wall has it, the mean over the whole of the run.
        wait_s: Time spent waiting for neighbours.
        foreign_load: Share of its working time in which the core worked for others, in the whole of the run.
        peak_rss_bytes: Peak resident size above the process before the stage came; None where the kernel keeps no peak.
    """

    forward_s: Seconds
    backward_s: Seconds
    weights_s: Seconds
    update_s: Seconds
    send_s: Seconds
    took_s: Seconds
    wait_s: Annotated[float, Meta(ge=-1e6, le=1e6)]
    foreign_load: Share
    peak_rss_bytes: Bytes | None

    @property
    def busy_s(self) -> float:
        """Forward, backward, update, and sending."""
        return self.forward_s + self.backward_s + self.weights_s + self.update_s + self.send_s


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRun:
    """What one stage did in one run.

    Attributes:
        host: The name of the host that it ran on; ``core``, on which core there.
        whole: Its times in the whole of the run.
        actions: All of them, where they were to be recorded.
    """

    stage: int
    host: str
    core: int
    whole: StageTimes
    actions: tuple[ActionRecord, ...]

    @property
    def minibatches(self) -> int:
        """How many minibatches it had."""
        return sum(record.kind == "F" for record in self.actions)

    @property
    def measured(self) -> StageMeasurement:
        """Medians over the minibatches, of ``wait_s`` the mean."""
        by_kind = self._by_kind()
        work_s = {
            kind: self._often(records) * median([max(0.0, record.cpu_s - record.copy_s) for record in records])
            for kind, records in by_kind.items()
            if records
        }
        return StageMeasurement(
            forward_s=work_s["F"],
            backward_s=work_s["B"],
            weights_s=work_s.get("W", 0.0),
            update_s=work_s["U"],
            send_s=sum(
                self._often(records) * median([record.copy_s for record in records])
                for records in by_kind.values()
                if records
            ),
            took_s=self.whole.work_s / self.whole.minibatches,
            wait_s=sum(record.wait_s for record in self.actions) / self.minibatches,
            foreign_load=self.whole.foreign_load,
            peak_rss_bytes=self.whole.peak_rss_bytes,
        )

    def as_file(self) -> dict[str, Any]:
        """Return what is kept: itself, and beside it its figures."""
        figures = ("minibatches", "measured")
        return values_of(self) | {name: getattr(self, name) for name in figures}

    def _by_kind(self) -> dict[Kind, list[ActionRecord]]:
        return {kind: [record for record in self.actions if record.kind == kind] for kind in KIND_NAMES}

    def _often(self, records: list[ActionRecord]) -> float:
        """Return how often a minibatch; updates are rarer with a flush."""
        return len(records) / self.minibatches


SamplesPerS = Annotated[float, Meta(ge=0, le=1e12)]
ChannelName = Literal["shm", "gloo"]
CHANNELS: tuple[ChannelName, ...] = ("shm", "gloo")
Clock = Literal["wall", "virtual"]
CLOCKS: tuple[Clock, ...] = ("wall", "virtual")
Bar = tuple[Kind, int, float, float]
"""An action in a timeline: its kind, its minibatch, and when it started and ended, in seconds from the first start."""

RUN_FORMAT_VERSION: Literal[15] = 15
VERIFICATION_FORMAT_VERSION: Literal[10] = 10


def is_comparable(clock: Clock, core_count: int, stages: int) -> bool:
    """Say whether every stage had a physical core of its own, or the virtual clock stood in for it."""
    return clock == "virtual" or core_count >= stages


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """One run of one plan, whose schedule is the one that ran; a loss that is no finite number is None.

    Attributes:
        clock: ``wall``; or ``virtual`` where stages took turns on their cores and all times but processor times are
            those of a machine with a core for every stage, worked out from what each action took.
        core_count: How many physical cores the stages had.
        comparable: Whether every stage had a physical core of its own, or the virtual clock stood in for it.
        stages: What each rank did, stage by stage.
        machine: The first stage's.
    """

    plan: Plan
    batch_size: int
    minibatches: int
    rule: UpdateRule
    channel: ChannelName
    clock: Clock
    core_count: int
    comparable: bool
    throughput_samples_per_s: SamplesPerS
    makespan_s: Seconds
    losses: tuple[float | None, ...]
    stages: tuple[StageRun, ...]
    machine: Machine
    format_version: Literal[15] = RUN_FORMAT_VERSION

    def as_file(self) -> dict[str, Any]:
        """Return what is kept: itself, and beside what each stage did, its figures."""
        return values_of(self) | {"stages": [stage.as_file() for stage in self.stages]}

    def timeline(self, minibatches: int) -> tuple[tuple[Bar, ...], ...]:
        """Return what each rank did with the first so many minibatches, to the microsecond."""
        zero_s = min(stage.actions[0].start_s for stage in self.stages if stage.actions)
        return tuple(
            tuple(
                (record.kind, record.minibatch, round(record.start_s - zero_s, 6), round(record.end_s - zero_s, 6))
                for record in stage.actions
                if record.minibatch < minibatches
            )
            for stage in self.stages
        )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionVerification:
    """Whether one split trained what its replay trains.

    Attributes:
        identical: Whether losses, weights and buffers agree in every bit.
        first_difference: Where they part, in words.
        digests: Of what the pipeline trained; likewise ``replay_digests``.
    """

    name: str
    cuts: tuple[str, ...]
    identical: bool
    first_difference: str | None
    digests: Digests
    replay_digests: Digests


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
    format_version: Literal[10] = VERIFICATION_FORMAT_VERSION
