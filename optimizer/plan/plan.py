"""The plan: which layers run in which stage, and what that should give. A frozen dataclass that is a JSON file.

Seconds and bytes throughout, per minibatch where it says nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from optimizer.errors import OptimizerError
from optimizer.schedule import Pace, Schedule, ScheduleName, schedule_of
from profiler.profile import (
    FP32,
    MOST_ROUNDS,
    PLAIN_FORM,
    Bytes,
    CopyCost,
    Count,
    Form,
    Name,
    Precision,
    Seconds,
    Shape,
    Slicing,
)
from profiler.shown import Shown

Share = Annotated[float, Meta(ge=0, le=1)]
Difference = Annotated[float, Meta(ge=-1e6, le=1e6)]
"""Seconds, below 0 where something takes less."""
EXACT, BOUNDED = "exact", "bounded"
"""Methods of the best split: proven, or not."""
FORMAT_VERSION: Literal[20] = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StageBytes:
    """The bytes of one stage's layers, each counted once; how often they are held depends on the schedule.

    Attributes:
        frozen_bytes: Of parameters that do not learn.
        learning_bytes: Of those that do.
        saved_bytes: Kept for the backward; ``left_bytes``, for its second part, where it is split.
        cast_bytes: What of these are casts of weights, which minibatches on the same version share.
        heap_bytes: What the heap holds beyond all this.
        activation_bytes: What crosses the cut behind the stage for one minibatch; likewise ``gradient_bytes`` back.
    """

    frozen_bytes: Bytes
    learning_bytes: Bytes
    saved_bytes: Bytes
    left_bytes: Bytes = 0
    cast_bytes: Bytes = 0
    heap_bytes: Bytes
    activation_bytes: Bytes
    gradient_bytes: Bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage: its layers in captured order and what a minibatch costs there.

    Attributes:
        forward_s: The loss included in the last stage; likewise ``backward_s``, of which ``weight_gradients_s`` is what
            a backward leaves for later that is split.
        accumulate_s: What adding up gradients comes to a minibatch under the plan's schedule, where several share an
            update: all of them but the first add ``adding_s``. And ``splitting_s``, what a backward takes more in two,
            where it is split.
        update_s: A minibatch's share of an update under the plan's schedule. An update takes ``update_beside_s``, which
            writes the next weight version beside the current one, or ``update_in_place_s`` where the stage holds one
            version only.
        send_forward_s: Copying activations to the next stage; likewise ``send_backward_s``, gradients to the one
            before. What comes in is computed on where it arrives.
        boundary: The values that cross the cut behind this stage, relayed ones included.
        memory_bytes: Predicted peak above an empty process.
        alone: What it takes beside no busy core, of what it costs; ``ease``, beside the other stages, which are busy
            for a share of the time.
        noise: By what factor its layers took longer than they are taken to in each round of the profile, a drift of the
            machine aside; nothing where the profile keeps no rounds.
    """

    layers: Annotated[tuple[Name, ...], Meta(min_length=1)]
    forward_s: Seconds
    backward_s: Seconds
    weight_gradients_s: Seconds
    accumulate_s: Difference
    adding_s: Difference
    splitting_s: Difference = 0.0
    update_s: Seconds
    update_beside_s: Seconds
    update_in_place_s: Seconds
    send_forward_s: Seconds
    send_backward_s: Seconds
    send_bytes: Bytes
    boundary: tuple[Name, ...]
    memory_bytes: Bytes
    sizes: StageBytes
    alone: Share = 1.0
    ease: Share = 1.0
    noise: Annotated[tuple[Annotated[float, Meta(ge=0, le=1e6)], ...], Meta(max_length=MOST_ROUNDS)] = ()

    @property
    def compute_s(self) -> float:
        """Forward and backward."""
        return self.forward_s + self.backward_s

    @property
    def send_s(self) -> float:
        """Copying activations to the next stage and gradients to the one before."""
        return self.send_forward_s + self.send_backward_s

    @property
    def total_s(self) -> float:
        """Time that the stage is busy with a minibatch in the steady state."""
        return self.compute_s + self.accumulate_s + self.update_s + self.send_s

    @property
    def expected_s(self) -> float:
        """Time that the stage is expected to be busy with a minibatch, as unsteady as it is."""
        return self.total_s * self.ease * (sum(self.noise) / len(self.noise) if self.noise else 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The throughput that is to be expected of stages that are unsteady, and between what 90% of runs lie."""

    samples_per_s: Seconds
    low: Seconds
    high: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Throughput and makespan of the simulated schedule over ``minibatches`` minibatches.

    Attributes:
        throughput_samples_per_s: Of steady stages; likewise ``makespan_s``.
        expected: Of stages as unsteady as they were in the profile; None where that is not known.
    """

    minibatches: Annotated[int, Meta(ge=1, le=1_000_000)]
    throughput_samples_per_s: Seconds
    makespan_s: Seconds
    expected: Expected | None = None

    @property
    def promised_samples_per_s(self) -> float:
        """The throughput that is to be expected; of steady stages, where nothing says how unsteady they are."""
        return self.expected.samples_per_s if self.expected else self.throughput_samples_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Shown):
    """A split of a model into stages.

    Attributes:
        slicing: Which layers are cut inside; ``precision``, in which all run.
        method: How it was found: ``exact``, ``bounded`` (not proven), a scheme's name.
        schedule: What is predicted; ``update_every``, how many minibatches an update takes under it; ``held``, how
            many a stage may hold between its two parts of a backward, where that is split; ``meets``, whether stages
            wait for each other before an update.
        planned_for: The schedule that the split was searched for, and that bottleneck and bound are about.
        bottleneck_s: The largest stage's ``total_s``.
        lower_bound_s: No legal split has a smaller bottleneck than this.
        cut_after: The cuts that were forced, each by the layers it stands directly behind; legal splits have them.
        neighbours: Beside how many busy cores its costs were taken.
        link: The network between its stages, which it was planned for; None: cores of one machine.
    """

    model: Name
    model_digest: str
    batch_size: Annotated[int, Meta(ge=1)]
    input_shape: Shape
    classes: Count
    vocabulary: Count = 0
    slicing: Slicing = PLAIN_FORM.slicing
    precision: Precision = FP32
    method: Name
    schedule: ScheduleName
    update_every: Annotated[int, Meta(ge=1, le=100_000)] = 1
    held: Annotated[int, Meta(ge=0, le=100_000)] = 0
    meets: bool = False
    planned_for: Pace
    momenta: Count
    stages: Annotated[tuple[Stage, ...], Meta(min_length=1)]
    bottleneck_s: Seconds
    predicted: Prediction
    lower_bound_s: Seconds
    memory_limit_bytes: Bytes | None = None
    cut_after: tuple[tuple[str, ...], ...] = ()
    neighbours: Count = 0
    link: CopyCost | None = None
    format_version: Literal[20] = FORMAT_VERSION
    table: ClassVar[str] = "optimizer.report.plan_table:show_plan"

    @property
    def num_stages(self) -> int:
        """The number of stages."""
        return len(self.stages)

    @property
    def optimal(self) -> bool:
        """Whether no legal split has a smaller bottleneck."""
        return self.bottleneck_s <= self.lower_bound_s

    @property
    def cuts(self) -> tuple[str, ...]:
        """The last layer, in captured order, before each cut."""
        return tuple(stage.layers[-1] for stage in self.stages[:-1])

    @property
    def form(self) -> Form:
        """The form in which the model runs."""
        return Form(self.slicing, self.precision)

    @property
    def split(self) -> tuple[tuple[str, ...], ...]:
        """The layers of each stage: what makes two plans the same split."""
        return tuple(stage.layers for stage in self.stages)

    @property
    def modules(self) -> tuple[tuple[str, ...], ...]:
        """The names of each stage's modules, a container's in the place of all that is in it where it is not cut.

        As ``torch.distributed.pipelining`` and torchtitan take them; functions stand among them by the names of their
        layers, such as ``flatten``.

        Raises:
            OptimizerError: Layers are cut inside, into what is no module.
        """
        if self.slicing:
            raise OptimizerError(
                f"the plan cuts layers inside ({self.slicing}), and a part of a layer is no module; plan with --slice "
                "none"
            )
        home = {layer: number for number, layers in enumerate(self.split) for layer in layers}
        stages_of: dict[str, set[int]] = {}
        for layer, number in home.items():
            for path in _around(layer):
                stages_of.setdefault(path, set()).add(number)
        return tuple(
            tuple(dict.fromkeys(next(path for path in _around(layer) if len(stages_of[path]) == 1) for layer in layers))
            for layers in self.split
        )

    @property
    def pace(self) -> Pace:
        """The schedule that is predicted."""
        return Pace(self.schedule, self.update_every, self.held, self.meets)

    @property
    def actions(self) -> Schedule:
        """The run that is predicted."""
        return schedule_of(self.pace, len(self.stages), self.predicted.minibatches)

    @property
    def limits(self) -> str:
        """The limits that the split had to keep, in words: `` with …``; nothing where it was free."""
        sentences = [f"a cut behind {', '.join(names)}" for names in self.cut_after]
        if self.memory_limit_bytes is not None:
            sentences.append(f"at most {self.memory_limit_bytes / 2**20:.0f} MiB a stage")
        return f" with {' and '.join(sentences)}" if sentences else ""

    @property
    def gap(self) -> float:
        """By how much a better split could at most be faster, as a share: bottleneck over lower bound, less one."""
        return self.bottleneck_s / self.lower_bound_s - 1 if self.lower_bound_s else float("inf")


def _around(layer: str) -> list[str]:
    """Return the paths of what holds a layer, the outermost first, and its own last."""
    parts = layer.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def distinct(plans: Sequence[Plan]) -> list[int]:
    """Return for each plan the index of the first plan that splits the layers, and runs them, in the same way."""
    splits = [(plan.form, plan.split) for plan in plans]
    return [splits.index(split) for split in splits]
