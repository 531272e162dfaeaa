"""What stages cost, as integers: nanoseconds and bytes, converted once from a profile's floats.

For ideals J ⊂ I, the stage of the layers I∖J costs, per minibatch,

    cost(J, I) = Σ_{v ∈ I∖J} (forward + backward + update)(v) + [I = V]·loss + copy(activations(I)) + copy(gradients(J))

where activations(I) are the values made in I, or put into the model, and read outside of I, the heads always, for the
loss is in the last stage: a value that is read far downstream crosses every cut in between and is counted at each
(relayed). Copying is the sender's cost; receiving in shared memory costs nothing. So a cost is a difference of two
prefix sums plus one term for either cut.

Not modelled: contention of cores for memory and cache, and the few layers whose backward is cheaper at a cut.
Source: the cost model of PipeDream (SOSP 2019, section 3.1) with the update and multi-tensor cuts added.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import networkx as nx

from optimizer.errors import ProfileError
from optimizer.ideals import blocks, members_of
from profiler.transfer import copy_s
from profiler.types import INPUT, Layer, Link, Profile, parts_s

NANOSECONDS = 1_000_000_000
MOST_LAYERS = 10_000
MOST_SECONDS = 1e8
"""More would not fit into the search's 64-bit integers, stages and versions counted in."""


@dataclass(frozen=True, slots=True)
class Value:
    """Something that a cut can carry: who makes it (None: the model's input), who reads it, and its sizes."""

    name: str
    readers: int
    output_bytes: int
    gradient_bytes: int
    copy_output_ns: int
    copy_gradient_ns: int
    maker: int


@dataclass(frozen=True, slots=True)
class Costs:
    """A profile's layers as integers, in captured order; sets of layers are integers with a bit for each.

    Attributes:
        parts: The blocks of layers that a cut may separate, as ``ideals.blocks`` gives them.
        forward_ns: Each layer's forward; likewise ``backward_ns`` and ``update_ns``.
        loss_forward_ns: The loss's forward; likewise ``loss_backward_ns``.
        values: What cuts can carry, the model's input first.
        momenta: How many tensors the update rule keeps for each parameter that learns.
    """

    layers: tuple[Layer, ...]
    parts: tuple[tuple[int, int], ...]
    forward_ns: tuple[int, ...]
    backward_ns: tuple[int, ...]
    update_ns: tuple[int, ...]
    loss_forward_ns: int
    loss_backward_ns: int
    values: tuple[Value, ...]
    momenta: int

    @property
    def weight_ns(self) -> list[int]:
        """Each layer's forward + backward + update."""
        return [sum(times) for times in zip(self.forward_ns, self.backward_ns, self.update_ns, strict=True)]

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
        total += self.loss_ns if through == self.everything else 0
        total += sum(value.copy_output_ns for value in self.crossing(through))
        return total + sum(value.copy_gradient_ns for value in self.crossing(before))

    def cut_bytes(self, ideal: int) -> int:
        """Return the bytes that cross the cut behind ``ideal`` in both directions."""
        return sum(value.output_bytes + value.gradient_bytes for value in self.crossing(ideal))


def costs_of(profile: Profile) -> Costs:
    """Convert a profile.

    Raises:
        ProfileError: Its graph names unknown layers, names one twice, has a cycle or is too large.
    """
    if not profile.complete:
        raise ProfileError(f"the profile of {profile.model} is what an interrupt left over; profile the model again")
    if len(profile.layers) > MOST_LAYERS:
        raise ProfileError(
            f"the profile of {profile.model} has {len(profile.layers)} layers and at most {MOST_LAYERS} are planned "
            "for; group layers into modules of their own and profile again"
        )
    position = {layer.name: index for index, layer in enumerate(profile.layers)}
    if len(position) < len(profile.layers) or not position:
        raise ProfileError(f"the profile of {profile.model} has no layers, or two of one name; profile the model again")
    if INPUT in position:
        raise ProfileError(f"a layer in the profile of {profile.model} is called '{INPUT}', as its input is; rename it")
    _refuse_odd_costs(profile)
    edges = _edges(profile, position)
    together = [[_find(position, name, profile) for name in group] for group in profile.together]
    readers = dict.fromkeys([INPUT, *position], 0)
    for edge in profile.edges:
        if edge.kind == "data":
            readers[edge.source] |= 1 << _find(position, edge.target, profile)
    for name in profile.outputs:
        readers[profile.layers[_find(position, name, profile)].name] |= 1 << len(position)  # the loss, in no ideal
    sizes = {layer.name: (layer.output_bytes, layer.gradient_bytes) for layer in profile.layers}
    sizes[INPUT] = (profile.input_bytes, 0)
    values = tuple(
        Value(
            name=name,
            readers=readers[name],
            output_bytes=output,
            gradient_bytes=gradient,
            copy_output_ns=copy_ns(profile.link, output),
            copy_gradient_ns=copy_ns(profile.link, gradient),
            maker=0 if name == INPUT else 1 << position[name],
        )
        for name in [INPUT, *position]
        for output, gradient in [sizes[name]]
    )
    if sum(value.copy_output_ns + value.copy_gradient_ns for value in values) > MOST_SECONDS * NANOSECONDS:
        raise ProfileError(
            f"sending what the layers in the profile of {profile.model} make takes more than {MOST_SECONDS:.0e} s; "
            "profile the model again"
        )
    return Costs(
        layers=profile.layers,
        parts=tuple(blocks(len(position), edges, together)),
        forward_ns=tuple(nanoseconds(layer.forward_s) for layer in profile.layers),
        backward_ns=tuple(nanoseconds(layer.backward_s) for layer in profile.layers),
        update_ns=tuple(nanoseconds(layer.update_s) for layer in profile.layers),
        loss_forward_ns=nanoseconds(profile.loss.forward_s),
        loss_backward_ns=nanoseconds(profile.loss.backward_s),
        values=values,
        momenta=1 if profile.momentum else 0,
    )


def copy_ns(link: Link, size: int) -> int:
    """Return what copying ``size`` bytes into a slot costs."""
    return nanoseconds(copy_s(link, size))


def nanoseconds(seconds: float) -> int:
    """Return ``seconds`` in whole nanoseconds."""
    return round(seconds * NANOSECONDS)


def _refuse_odd_costs(profile: Profile) -> None:
    sizes = profile.link.sizes_bytes
    if len(sizes) != len(profile.link.copy_s) or list(sizes) != sorted({size for size in sizes if size > 0}):
        raise ProfileError(
            f"the link in the profile of {profile.model} does not give one time for each of ascending sizes; "
            "profile the model again"
        )
    times_s = [time_s for layer in profile.layers for time_s in (layer.forward_s, layer.backward_s, layer.update_s)]
    if not any(map(nanoseconds, [*times_s, profile.loss.forward_s, profile.loss.backward_s])):
        raise ProfileError(f"nothing in the profile of {profile.model} takes a nanosecond; profile the model again")
    odd = [layer.name for layer in profile.layers if layer.learning_bytes > layer.parameter_bytes]
    if odd:
        raise ProfileError(
            f"more parameters of {odd[0]} learn in the profile of {profile.model} than it has; profile the model again"
        )
    operations = sum(layer.flops + layer.backward_flops for layer in profile.layers)
    held = [
        layer.parameter_bytes + layer.saved_bytes + layer.transient_bytes + layer.output_bytes + layer.gradient_bytes
        for layer in profile.layers
    ]
    sizes_bytes = sum(held) + profile.input_bytes
    if parts_s(profile.layers, profile.loss) > MOST_SECONDS or max(sizes_bytes >> 45, operations >> 60):
        raise ProfileError(
            f"the layers in the profile of {profile.model} add up to more than {MOST_SECONDS:.0e} s, "
            "32 TiB or 1e18 operations, which no minibatch takes; profile the model again"
        )


def _edges(profile: Profile, position: Mapping[str, int]) -> list[tuple[int, int]]:
    pairs = [
        (_find(position, edge.source, profile), _find(position, edge.target, profile))
        for edge in profile.edges
        if edge.source != INPUT
    ]
    graph: nx.DiGraph[Any] = nx.DiGraph(pairs)
    if not nx.is_directed_acyclic_graph(graph) or any(before >= after for before, after in pairs):
        raise ProfileError(
            f"the profile of {profile.model} has an edge against the order of its layers; profile the model again"
        )
    return pairs


def _find(position: Mapping[str, int], name: str, profile: Profile) -> int:
    if name not in position:
        raise ProfileError(f"the profile of {profile.model} has an edge at an unknown layer '{name}'; profile it again")
    return position[name]
