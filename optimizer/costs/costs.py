"""Costs of stages as integers: nanoseconds and bytes, converted once from a profile's floats.

For ideals J ⊂ I, the stage of the layers I∖J costs, per minibatch,

    cost(J, I) = Σ_{v ∈ I∖J} (forward + backward + accumulate + update)(v) + copy(activations(I)) + copy(gradients(J))
                 + [I = V]·(loss − Σ_{v ∈ I∖J} saving(v))

where activations(I) are the values made in I, or put into the model, and read outside of I, the heads always, for the
loss is in the last stage: a value that is read far downstream crosses every cut in between and is counted at each
(relayed). Copying is the sender's cost; receiving in shared memory costs nothing. So a cost is a difference of two
prefix sums, others for the last stage, plus one term for either cut.

What updates cost a minibatch depends on the schedule. With an update every m minibatches, where b and p are a layer's
update beside the current version and in place, and a is what adding to a gradient takes more than writing it anew:

    1f1b                    update = b              saving = b − p, for the last stage holds one version
    2bw                     update = b ÷ m          saving = 0                  accumulate = a·(m − 1) ÷ m
    with a flush            update = p ÷ m          saving = 0                  accumulate = a·(m − 1) ÷ m

each rounded to whole nanoseconds. With a flush the bottleneck is what a minibatch takes between warm-up and drain.

Not modelled here: what cores do to each other (``plan.noise``), and the few layers whose backward is cheaper at a cut.
Source: the cost model of PipeDream (SOSP 2019, section 3.1) with the update and multi-tensor cuts added.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from optimizer.costs.ideals import blocks, members_of
from optimizer.schedule import ASYNCHRONOUS, PLAIN_1F1B, Pace
from profiler.profile import INPUT, CopyCost, Layer, Profile


@dataclass(frozen=True, slots=True)
class Value:
    """A value that can cross a cut: who makes it (None: the model's input), who reads it, and its sizes."""

    name: str
    readers: int
    output_bytes: int
    gradient_bytes: int
    copy_output_ns: int
    copy_gradient_ns: int
    maker: int


@dataclass(frozen=True, slots=True)
class Costs:
    """A model's layers as integers, in captured order; sets of layers are integers with a bit for each.

    Attributes:
        parts: The blocks of layers that a cut may separate, as ``ideals.blocks`` gives them.
        pace: The schedule.
        forward_ns: Each layer's forward; likewise ``backward_ns``, and ``accumulate_ns`` and ``update_ns`` as above.
        saving_ns: As above; below 0 where an update in place takes longer.
        adding_ns: a of each layer, not below −``backward_ns``; likewise ``beside_ns``, b, and ``in_place_ns``, p.
        loss_forward_ns: The loss's forward; likewise ``loss_backward_ns``.
        values: What cuts can carry, the model's input first.
        momenta: How many tensors the update rule keeps for each parameter that learns.
        heap_bytes: What a stage's heap holds beyond what its layers need.
    """

    layers: tuple[Layer, ...]
    parts: tuple[tuple[int, int], ...]
    pace: Pace
    forward_ns: tuple[int, ...]
    backward_ns: tuple[int, ...]
    accumulate_ns: tuple[int, ...]
    update_ns: tuple[int, ...]
    saving_ns: tuple[int, ...]
    adding_ns: tuple[int, ...]
    beside_ns: tuple[int, ...]
    in_place_ns: tuple[int, ...]
    loss_forward_ns: int
    loss_backward_ns: int
    values: tuple[Value, ...]
    momenta: int
    heap_bytes: int

    @property
    def weight_ns(self) -> list[int]:
        """Each layer's forward + backward + accumulate + update."""
        kinds = (self.forward_ns, self.backward_ns, self.accumulate_ns, self.update_ns)
        return [sum(times) for times in zip(*kinds, strict=True)]

    @property
    def loss_ns(self) -> int:
        """The loss's forward + backward."""
        return self.loss_forward_ns + self.loss_backward_ns

    @property
    def everything(self) -> int:
        """The set of all layers."""
        return (1 << len(self.layers)) - 1

    def crossing(self, ideal: int) -> list[Value]:
        """Return the values that cross the cut behind ``ideal``; none cross the ends."""
        if ideal in (0, self.everything):
            return []
        return [value for value in self.values if value.maker & ~ideal == 0 and value.readers & ~ideal]

    def stage_ns(self, before: int, through: int) -> int:
        """Return cost(J, I) for J = ``before`` and I = ``through``."""
        weight_ns = self.weight_ns
        total = sum(weight_ns[position] for position in members_of(through & ~before))
        if through == self.everything:
            total += self.loss_ns - sum(self.saving_ns[position] for position in members_of(through & ~before))
        total += sum(value.copy_output_ns for value in self.crossing(through))
        return total + sum(value.copy_gradient_ns for value in self.crossing(before))

    def cut_bytes(self, ideal: int) -> int:
        """Return the bytes that cross the cut behind ``ideal`` in both directions."""
        return sum(value.output_bytes + value.gradient_bytes for value in self.crossing(ideal))


def costs_of(profile: Profile, pace: Pace = PLAIN_1F1B) -> Costs:
    """Convert what a model costs to integers, as the schedule pays it."""
    position = {layer.name: index for index, layer in enumerate(profile.layers)}
    edges = [(position[edge.source], position[edge.target]) for edge in profile.edges if edge.source != INPUT]
    inseparable = [[position[name] for name in group] for group in profile.inseparable]
    every = pace.update_every
    forward_ns = tuple(nanoseconds(layer.forward_s) for layer in profile.layers)
    backward_ns = tuple(nanoseconds(layer.backward_s) for layer in profile.layers)
    beside_ns = tuple(nanoseconds(layer.update_s) for layer in profile.layers)
    in_place_ns = tuple(nanoseconds(layer.update_in_place_s) for layer in profile.layers)
    adding_ns = tuple(
        max(-own_ns, nanoseconds(layer.accumulate_s)) for own_ns, layer in zip(backward_ns, profile.layers, strict=True)
    )
    stashed = pace.name == ASYNCHRONOUS
    return Costs(
        layers=profile.layers,
        parts=tuple(blocks(len(position), edges, inseparable)),
        pace=pace,
        forward_ns=forward_ns,
        backward_ns=backward_ns,
        accumulate_ns=tuple(round(time_ns * (every - 1) / every) for time_ns in adding_ns),
        update_ns=tuple(round(time_ns / every) for time_ns in (in_place_ns if pace.flush_every else beside_ns)),
        saving_ns=tuple(
            beside - in_place if stashed else 0 for beside, in_place in zip(beside_ns, in_place_ns, strict=True)
        ),
        adding_ns=adding_ns,
        beside_ns=beside_ns,
        in_place_ns=in_place_ns,
        loss_forward_ns=nanoseconds(profile.loss.forward_s),
        loss_backward_ns=nanoseconds(profile.loss.backward_s),
        values=_values(profile, position),
        momenta=profile.momenta,
        heap_bytes=profile.heap_bytes,
    )


def layer_s(layer: Layer, pace: Pace) -> float:
    """Return what a layer costs a minibatch under a schedule, where it is not in the last stage."""
    every = pace.update_every
    update_s = layer.update_in_place_s if pace.flush_every else layer.update_s
    return layer.forward_s + layer.backward_s + (layer.accumulate_s * (every - 1) + update_s) / every


def _values(profile: Profile, position: Mapping[str, int]) -> tuple[Value, ...]:
    readers = dict.fromkeys([INPUT, *position], 0)
    for edge in profile.edges:
        if edge.kind == "data":
            readers[edge.source] |= 1 << position[edge.target]
    for name in profile.outputs:
        readers[name] |= 1 << len(position)  # the loss, in no ideal
    sizes = {layer.name: (layer.output_bytes, layer.gradient_bytes) for layer in profile.layers}
    sizes[INPUT] = (profile.input_bytes, 0)
    return tuple(
        Value(
            name=name,
            readers=readers[name],
            output_bytes=output,
            gradient_bytes=gradient,
            copy_output_ns=copy_ns(profile.copy_cost, output),
            copy_gradient_ns=copy_ns(profile.copy_cost, gradient),
            maker=0 if name == INPUT else 1 << position[name],
        )
        for name in [INPUT, *position]
        for output, gradient in [sizes[name]]
    )


NANOSECONDS = 1_000_000_000


def nanoseconds(seconds: float) -> int:
    """Return ``seconds`` in whole nanoseconds."""
    return round(seconds * NANOSECONDS)


def copy_ns(copy_cost: CopyCost, size: int) -> int:
    """Return what copying ``size`` bytes into a slot costs."""
    return nanoseconds(copy_cost.seconds(size))
