"""The profile: what a model's layers cost on one core of one machine. A frozen dataclass that is a JSON file.

What the model costs in one form, its layers cut inside or in bfloat16, is worked out from it (``Profile.costs``).
Seconds and bytes throughout; ``input_shape`` includes the minibatch, ``(N, C, H, W)`` for images.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from profiler.commands import FUNCTIONS, command
from profiler.errors import ConfigError
from profiler.profile.form import BF16, FP32, PLAIN_FORM, Form, Pieces, Precision, Slicing, lengths_of
from profiler.profile.layers import (
    Bytes,
    CopyCost,
    Count,
    Edge,
    Layer,
    Loss,
    Lowered,
    Machine,
    Name,
    Seconds,
    Shape,
    SlicedLayer,
    Tie,
    Timing,
    parts_s,
)
from profiler.profile.sliced_graph import cut_edges, part_names
from profiler.shown import Shown

FORMAT_VERSION: Literal[13] = 13
LOUD = 0.2
"""From which uncertainty on nothing can be said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(Shown):
    """What a model's layers cost on one core.

    Attributes:
        vocabulary: Samples are whole numbers below it; 0 for floats.
        loss_name: The user's own loss; nothing for cross-entropy.
        layers: In captured order, which is a topological order of ``edges``.
        inseparable: Groups of layers that no cut may separate (they share a parameter, or hand over what is no tensor).
        ties: Which layers share parameters or buffers, as the model has them whole.
        outputs: The layers whose outputs enter the loss, the main head first; the last stage needs them all.
        blocks: What layers cost in blocks, where that was measured.
        lowered: What layers cost in bfloat16, where that was measured.
        whole_step_s: The plain step, all layers whole, beside no busy core: model, loss, backward, update.
        update_rule: The rule that was timed, in the words of ``UpdateRule.words``.
        momenta: How many tensors it keeps for each parameter.
        core: Where it was measured, of the cores in ``affinity``.
        peak_memory_bytes: Largest resident size of a process in whole steps, above an empty one; None where the kernel
            keeps no peak.
        neighbours: How many other cores trained the same model while all else was timed.
        beside_s: What the plain step takes beside one busy core, beside two, and so on to ``neighbours``.
        check_s: How long its layers were held against the model itself, before all else; 0 where nobody did.
        closure_error: By how much the parts of a step are more than the plain steps before and after it, as a share.
        rounds: How many samples stand behind each time.
        uncertainty: The largest half-width of an interval among the ten costliest layers, as a share of its cost.
        foreign_load: Share of the time in which the core worked for others.
        typed: The options that name the model and its minibatch on a command line; none for one that was in memory.
    """

    model: Name
    model_digest: str
    batch_size: Annotated[int, Meta(ge=1)]
    input_shape: Shape
    classes: Count
    vocabulary: Count = 0
    loss_name: str = ""
    update_rule: str
    momenta: Count
    machine: Machine
    core: Count
    affinity: tuple[Count, ...]
    layers: tuple[Layer, ...]
    edges: tuple[Edge, ...]
    inseparable: tuple[Annotated[tuple[str, ...], Meta(min_length=1)], ...]
    ties: tuple[Tie, ...] = ()
    outputs: tuple[str, ...] = ()
    blocks: tuple[SlicedLayer, ...] = ()
    lowered: Lowered | None = None
    loss: Loss
    copy_cost: CopyCost
    input_bytes: Bytes
    peak_memory_bytes: Bytes | None
    whole_step_s: Seconds
    whole_step: Timing
    neighbours: Count = 0
    beside_s: tuple[Seconds, ...] = ()
    check_s: Seconds = 0.0
    closure_error: float
    rounds: Count
    uncertainty: float
    foreign_load: float
    measured_at: str
    typed: tuple[str, ...] = ()
    format_version: Literal[13] = FORMAT_VERSION
    table: ClassVar[str] = "profiler.report.table:show_profile"

    @property
    def loud(self) -> bool:
        """Whether the machine was so loud that one split cannot be told from another."""
        return self.uncertainty > LOUD

    @property
    def memory_parts(self) -> tuple[int, int, int, int, int]:
        """The bytes of all parameters, gradients, momentum and saved tensors, and the largest transient."""
        learning = sum(layer.learning_bytes for layer in self.layers)
        return (
            sum(layer.parameter_bytes for layer in self.layers),
            learning,
            learning * self.momenta,
            sum(layer.saved_bytes for layer in self.layers),
            max(layer.transient_bytes for layer in self.layers),
        )

    @property
    def heap_bytes(self) -> int:
        """What a whole step took beyond its parts: holes in the heap, and what kernels keep; 0 where that is unknown.

        A stage's heap holds about as much beyond its parts.
        """
        return max(0, (self.peak_memory_bytes or 0) - sum(self.memory_parts))

    @property
    def crowding(self) -> tuple[float, ...]:
        """How many times as long a step takes beside no busy core, beside one, and so on."""
        return (1.0, *(time_s / self.whole_step_s for time_s in self.beside_s))

    def costs(self, form: Form = PLAIN_FORM) -> "ModelCosts":
        """Return what the model costs in a form; without one, with its layers whole and in float32."""
        costs = _in_precision(self, form.precision)
        for layer, pieces in form.slicing.pieces.items():
            costs = _with_cut(costs, layer, pieces)
        return replace(costs, form=form)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCosts:
    """What a model costs on one core in one form: its layers as they then run, and the graph that they are in.

    Attributes:
        profile: The measurement.
        layers: In captured order, blocks and concat in the place of a layer that is cut inside.
        edges: As in ``Profile``, of these layers; likewise ``inseparable`` and ``outputs``.
        uncut: The layers that are cut inside, as they are whole.
        blocks: What whole layers cost in blocks, as far as it was measured in their precision.
        whole_step_s: The plain step in the form's precision, all layers whole; likewise ``whole_step`` and
            ``closure_error``.
    """

    profile: Profile
    form: Form
    layers: tuple[Layer, ...]
    edges: tuple[Edge, ...]
    inseparable: tuple[tuple[str, ...], ...]
    outputs: tuple[str, ...]
    uncut: tuple[Layer, ...]
    blocks: tuple[SlicedLayer, ...]
    loss: Loss
    whole_step_s: float
    whole_step: Timing
    closure_error: float

    @property
    def whole(self) -> tuple[Layer, ...]:
        """The model's own layers, those that are cut inside last."""
        return (*(layer for layer in self.layers if not layer.part_of), *self.uncut)

    @property
    def one_core_s(self) -> float:
        """The sum of all parts of a step with the layers whole, the loss among them."""
        return parts_s(self.whole, self.loss)

    @property
    def lone_core_s(self) -> float:
        """The same while no other core is busy, as far as that is known."""
        alone_s = [*(layer.alone_s for layer in self.whole), self.loss.alone_s]
        known = [time_s for time_s in alone_s if time_s is not None]
        return sum(known) if len(known) == len(alone_s) else self.one_core_s


def cast_bytes(full: Layer, lower: Layer) -> int:
    """Return the size in float32 of a layer's output if that is of another type under autocast; else 0."""
    return full.output_bytes if lower.output_bytes < full.output_bytes else 0


def _in_precision(profile: Profile, precision: Precision) -> ModelCosts:
    """Return what whole layers cost in a precision."""
    layers, loss = profile.layers, profile.loss
    step: Profile | Lowered = profile
    if precision.lowered:
        if profile.lowered is None:
            raise ConfigError(
                f"the profile of {profile.model} says nothing of {BF16}, which {precision[:60]!r} needs; profile again "
                f"with --precision {BF16}"
            )
        for name in sorted(precision.in_float32.difference(layer.name for layer in layers)):
            raise ConfigError(f"the profile of {profile.model} has no layer '{name}' to keep in {FP32}; plan again")
        lowered = profile.lowered
        layers = tuple(_with_casts(profile, lowered, precision.in_float32))
        loss = loss if precision.in_float32.intersection(profile.outputs) else lowered.loss
        step = lowered
    autocast = {layer.name: layer.autocast for layer in layers}
    return ModelCosts(
        profile=profile,
        form=Form(precision=precision),
        layers=layers,
        edges=profile.edges,
        inseparable=profile.inseparable,
        outputs=profile.outputs,
        uncut=(),
        blocks=tuple(own for own in profile.blocks if own.parts[0].autocast == autocast.get(own.layer)),
        loss=loss,
        whole_step_s=step.whole_step_s,
        whole_step=step.whole_step,
        closure_error=step.closure_error,
    )


def _with_casts(profile: Profile, lowered: Lowered, stay: frozenset[str]) -> Iterator[Layer]:
    """Yield each layer in the precision in which it runs, with the casts between layers.

    A layer reads a value in the type in which it was measured. Where the layer that made it runs in the other
    precision, and the value is of another type there, the reader casts it, and the gradient on its way back.
    """
    pairs = list(zip(profile.layers, lowered.layers, strict=True))
    cast = {full.name: cast_bytes(full, lower) for full, lower in pairs}
    reads: dict[str, set[str]] = {full.name: set() for full, _ in pairs}
    for edge in profile.edges:
        if edge.kind == "data" and edge.source in cast and edge.target in reads:
            reads[edge.target].add(edge.source)
    for full, lower in pairs:
        stays = full.name in stay
        sizes = [cast[name] for name in reads[full.name] if (name in stay) != stays]
        made = sum(size if stays else size // 2 for size in sizes)
        own = full if stays else lower
        yield own.casting_inputs(sum(map(lowered.cast_cost.seconds, sizes)), made)


def _with_cut(costs: ModelCosts, layer: str, pieces: Pieces) -> ModelCosts:
    """Return the costs with a layer cut inside, as its blocks were measured."""
    lengths = lengths_of(layer, pieces, {own.name: (own.features, own.uncuttable) for own in costs.layers})
    named = part_names(layer, len(lengths))
    measured = [
        own
        for own in costs.blocks
        if own.layer == layer and [part.name for part in own.parts] == named and own.lengths == lengths
    ]
    if not measured:
        raise _not_measured(costs.profile, layer, lengths)
    names = [own.name for own in costs.layers]
    at = names.index(layer)
    whole, concat = costs.layers[at], named[-1]
    parts = [part.casting_inputs(whole.input_cast_s, whole.input_cast_bytes) for part in measured[0].parts[:-1]]
    return replace(
        costs,
        uncut=(*costs.uncut, whole),
        layers=(*costs.layers[:at], *parts, measured[0].parts[-1], *costs.layers[at + 1 :]),
        edges=cut_edges(costs.edges, names, layer, len(lengths)),
        inseparable=tuple(tuple(concat if name == layer else name for name in group) for group in costs.inseparable),
        outputs=tuple(concat if name == layer else name for name in costs.outputs),
    )


def _not_measured(profile: Profile, layer: str, lengths: Pieces) -> ConfigError:
    text = Slicing.of({layer: lengths})
    anew = f"{FUNCTIONS['compare']}(…, slice='{text}')"
    if profile.typed:
        anew = command("plan", *profile.typed, slice=text)
    return ConfigError(
        f"the profile of {profile.model} does not say what {layer} costs in blocks of "
        f"{', '.join(map(str, lengths))} features; measure that with {anew}"
    )
