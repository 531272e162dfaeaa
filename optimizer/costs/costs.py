"""Costs of stages as integers: nanoseconds and bytes, converted once from a profile's floats.

For ideals J ⊂ I, the stage of the layers I∖J costs, per minibatch,

    cost(J, I) = Σ_{v ∈ I∖J} (forward + backward + accumulate + update)(v) + copy(activations(I)) + copy(gradients(J))
                 + [I = V]·(loss − Σ_{v ∈ I∖J} saving(v))

where activations(I) are the values made in I, or put into the model, and read outside of I, the heads always, for the
loss is in the last stage: a value that is read far downstream crosses every cut in between and is counted at each
(relayed). What crosses a cut in one direction is one message. Copying is the sender's cost, over a network too;
receiving costs nothing. So a cost is a difference of two prefix sums, others for the last stage, plus one term for
either cut.

What updates cost a minibatch depends on the schedule (``Pace.price``): with an update every m minibatches an m-th of
one, beside the current version or in place, and of m minibatches, for m − 1, what adding to a gradient takes more than
writing it anew, each rounded to whole nanoseconds. Under ``1f1b`` the last stage holds one version, and updates in
place: that is saving(v), which else is 0. Where backwards are split, what that takes more is
added.

Not modelled here: what cores do to each other (``plan.noise``), and the few layers whose backward is cheaper at a cut.
Source: the cost model of PipeDream (SOSP 2019, section 3.1) with the update and multi-tensor cuts added.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from optimizer.costs.ideals import blocks
from optimizer.schedule import PLAIN_1F1B, Pace
from profiler.profile import INPUT, CopyCost, Layer, Profile


@dataclass(frozen=True, slots=True)
class Value:
    """A value that can cross a cut: who makes it (None: the model's input), who reads it, and its sizes."""

    name: str
    readers: int
    output_bytes: int
    gradient_bytes: int
    maker: int


@dataclass(frozen=True, slots=True)
class Costs:
    """A model's layers as integers, in captured order; sets of layers are integers with a bit for each.

    Attributes:
        parts: The blocks of layers that a cut may separate, as ``ideals.blocks`` gives them.
        forward_ns: Each layer's forward; likewise ``backward_ns``, of which ``weight_gradients_ns`` may come later.
        adding_ns: What adding to its gradient takes more than writing it anew, not below −``backward_ns``;
            ``splitting_ns``, what its backward takes more in two.
        beside_ns: Its update beside the current version; ``in_place_ns``, in place.
        values: What cuts can carry, the model's input first; ``copy_cost``, what sending costs.
        heap_bytes: What a stage's heap holds beyond what its layers need.
    """

    layers: tuple[Layer, ...]
    parts: tuple[tuple[int, int], ...]
    pace: Pace
    forward_ns: tuple[int, ...]
    backward_ns: tuple[int, ...]
    weight_gradients_ns: tuple[int, ...]
    adding_ns: tuple[int, ...]
    splitting_ns: tuple[int, ...]
    beside_ns: tuple[int, ...]
    in_place_ns: tuple[int, ...]
    loss_forward_ns: int
    loss_backward_ns: int
    values: tuple[Value, ...]
    copy_cost: CopyCost
    momenta: int
    heap_bytes: int

    def weights_ns(self, *, last: bool = False) -> list[int]:
        """Return each layer's forward + backward + accumulate + update, in the last stage or in another one."""
        updates_ns = self.in_place_ns if self.pace.updates_in_place(last=last) else self.beside_ns
        prices = [self.pace.price(*row) for row in zip(self.adding_ns, self.splitting_ns, updates_ns, strict=True)]
        extra_ns = [round(accumulate_ns) + round(update_ns) for accumulate_ns, update_ns in prices]
        return [sum(times) for times in zip(self.forward_ns, self.backward_ns, extra_ns, strict=True)]

    @property
    def least_ns(self) -> list[int]:
        """Each layer's weight in whichever stage it is the smallest."""
        return list(map(min, self.weights_ns(), self.weights_ns(last=True)))

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

    def crossing_bytes(self, ideal: int) -> tuple[int, int]:
        """Return the bytes that cross the cut behind ``ideal``: activations down, gradients up."""
        crossing = self.crossing(ideal)
        return sum(value.output_bytes for value in crossing), sum(value.gradient_bytes for value in crossing)

    def sending_ns(self, size_bytes: int) -> int:
        """Return what it costs a stage to send so many bytes to its neighbour, all that cross a cut together."""
        return nanoseconds(self.copy_cost.seconds(size_bytes))

    def bytes_of(self, members: Sequence[int]) -> tuple[int, int, int, int, int]:
        """Return layers' bytes, as ``Factors.held_bytes`` takes them: frozen, learning, saved, left, casts."""
        layers = [self.layers[at] for at in members]
        return (
            sum(layer.parameter_bytes - layer.learning_bytes for layer in layers),
            sum(layer.learning_bytes for layer in layers),
            sum(layer.saved_bytes for layer in layers),
            sum(layer.left_bytes for layer in layers),
            sum(layer.cast_bytes for layer in layers),
        )


def costs_of(profile: Profile, pace: Pace = PLAIN_1F1B) -> Costs:
    """Convert what a model costs to integers, as the schedule pays it."""

    def times_ns(times_s: Iterable[float]) -> tuple[int, ...]:
        return tuple(map(nanoseconds, times_s))

    position = {layer.name: index for index, layer in enumerate(profile.layers)}
    edges = [(position[edge.source], position[edge.target]) for edge in profile.edges if edge.source != INPUT]
    inseparable = [[position[name] for name in group] for group in profile.inseparable]
    layers, loss = profile.layers, profile.loss
    backward_ns = times_ns(layer.backward_s for layer in layers)
    loss_forward_ns, loss_backward_ns = times_ns([loss.forward_s, loss.backward_s])
    return Costs(
        layers=layers,
        parts=tuple(blocks(len(position), edges, inseparable)),
        pace=pace,
        forward_ns=times_ns(layer.forward_s for layer in layers),
        backward_ns=backward_ns,
        weight_gradients_ns=times_ns(layer.weight_gradients_s for layer in layers),
        adding_ns=_in_backward(times_ns(layer.accumulate_s for layer in layers), backward_ns),
        splitting_ns=_in_backward(times_ns(layer.splitting_s for layer in layers), backward_ns),
        beside_ns=times_ns(layer.update_s for layer in layers),
        in_place_ns=times_ns(layer.update_in_place_s for layer in layers),
        loss_forward_ns=loss_forward_ns,
        loss_backward_ns=loss_backward_ns,
        values=_values(profile, position),
        copy_cost=profile.copy_cost,
        momenta=profile.momenta,
        heap_bytes=profile.heap_bytes,
    )


def _in_backward(more_ns: Sequence[int], backward_ns: Sequence[int]) -> tuple[int, ...]:
    """Return what backwards take more, and not so much less that nothing is left of them."""
    return tuple(max(-own_ns, more) for own_ns, more in zip(backward_ns, more_ns, strict=True))


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
            maker=0 if name == INPUT else 1 << position[name],
        )
        for name in [INPUT, *position]
        for output, gradient in [sizes[name]]
    )


NANOSECONDS = 1_000_000_000


def nanoseconds(seconds: float) -> int:
    """Return ``seconds`` in whole nanoseconds."""
    return round(seconds * NANOSECONDS)
