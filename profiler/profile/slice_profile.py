"""Slicing: which layers are cut into how many blocks of output features, and a profile with its layers so cut.

A slicing is written ``classifier.1=4,features.2=2``; nothing stands for a model whose layers are whole. A layer that is
cut becomes its blocks, chained by order edges, for they are interchangeable and would only multiply the cuts, and a
concat that reads them all. What else reads the layer's input keeps its place beside the blocks, so that the input's
gradient is summed up in the same order wherever the cuts fall.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from profiler.commands import FUNCTIONS, command
from profiler.errors import ConfigError, suggest
from profiler.profile.profile import INPUT, Edge, Layer, Profile, SlicedLayer

BLOCK, CONCAT = "block", "concat"
Pieces = tuple[int, ...]
"""How a layer is cut: into so many even blocks, where it is one number; else the features of each block."""


def parse_slicing(text: str) -> dict[str, Pieces]:
    """Return how each layer of a slicing is cut.

    Raises:
        ConfigError: It is not written as one, names a layer twice, or wants fewer than two blocks, or empty ones.
    """
    cut: dict[str, Pieces] = {}
    for part in text.split(",") if text else []:
        layer, _, numbers = part.strip().rpartition("=")
        pieces = numbers.split("+")
        if layer in cut:
            raise ConfigError(f"the slicing '{text}' names {layer} twice; leave one out")
        if not layer or not all(map(str.isdecimal, pieces)):
            raise ConfigError(
                f"'{part}' in the slicing '{text}' is no layer with its blocks; write classifier.1=4, say, or "
                "classifier.1=1024+3072 for the features of each"
            )
        cut[layer] = tuple(map(int, pieces))
        if cut[layer] < (2,) if len(pieces) == 1 else min(cut[layer]) < 1:
            raise ConfigError(f"{layer} cannot be cut into {numbers} blocks; name 2 or more, or leave it out")
    return cut


def slicing_text(cut: Mapping[str, Pieces]) -> str:
    """Return a slicing as it is written."""
    return ",".join(f"{layer}={'+'.join(map(str, pieces))}" for layer, pieces in cut.items())


def part_names(layer: str, count: int) -> list[str]:
    """Return what the blocks of a layer are called, in order, and then its concat."""
    return [*(f"{layer}.{BLOCK}{number}" for number in range(count)), f"{layer}.{CONCAT}"]


def lengths_of(layer: str, pieces: Pieces, layers: Mapping[str, tuple[int, str]]) -> Pieces:
    """Return how many features each block has; of even ones, the first have one more where it does not go up.

    Args:
        layer: Its name.
        pieces: How it is to be cut.
        layers: For each layer its output features, and why it cannot be cut; nothing where it can.

    Raises:
        ConfigError: The layer is not there, cannot be cut, or has other features than the blocks want.
    """
    if layer not in layers:
        can = [name for name, (_, reason) in layers.items() if not reason]
        raise ConfigError(f"there is no layer '{layer}' to slice{suggest(layer, can or layers)}")
    features, reason = layers[layer]
    if reason or not features:
        reason = reason or "its profile does not say what output features it has"
        raise ConfigError(f"{layer} cannot be sliced: {reason}; leave it out of --slice")
    if len(pieces) > 1:
        if sum(pieces) != features:
            raise ConfigError(f"{layer} has {features} output features, and its blocks {sum(pieces)}; make them equal")
        return pieces
    (count,) = pieces
    if count > features:
        raise ConfigError(f"{layer} has {features} output features and cannot be cut into {count} blocks; name fewer")
    return tuple(features // count + (number < features % count) for number in range(count))


def lengths_in(sliced: SlicedLayer) -> Pieces:
    """Return how many features each block has that was measured."""
    return tuple(part.features for part in sliced.parts[:-1])


def cut_edges(edges: Sequence[Edge], order: Sequence[str], layer: str, count: int) -> tuple[Edge, ...]:
    """Return the edges of a graph in which ``layer`` is cut into ``count`` blocks.

    Args:
        edges: Those of the graph in which it is whole.
        order: That graph's layers in captured order.
        layer: What is cut.
        count: Into how many blocks.
    """
    *blocks, concat = part_names(layer, count)
    place = {name: at for at, name in enumerate(order)}
    result: list[Edge] = []
    for edge in edges:
        if edge.target == layer:
            result += [replace(edge, target=block) for block in blocks]
        elif edge.source == layer and edge.kind == "data":
            result.append(replace(edge, source=concat))
        elif edge.source == layer:  # what overwrites the input waits for all who read it
            result += [replace(edge, source=block) for block in blocks]
        else:
            result.append(edge)
    result += [Edge(source=block, target=concat) for block in blocks]
    result += [Edge(source=a, target=b, kind="order") for a, b in pairwise(blocks)]
    read = {edge.source for edge in edges if edge.target == layer and edge.kind == "data"} - {INPUT}
    beside = {edge.target for edge in edges if edge.source in read and edge.kind == "data"} - {layer}
    for name in sorted(beside, key=place.__getitem__):
        before = place[name] < place[layer]
        ends = (name, blocks[0]) if before else (blocks[-1], name)
        result.append(Edge(source=ends[0], target=ends[1], kind="order"))
    return tuple(dict.fromkeys(result))


def sliced_profile(profile: Profile, slicing: str) -> Profile:
    """Return the profile with its layers cut, as their blocks were measured; it tells of no others.

    Raises:
        ConfigError: A layer cannot be cut like that, or that was not measured.
    """
    for layer, pieces in parse_slicing(slicing).items():
        profile = _cut(profile, layer, pieces)
    return replace(profile, blocks=())


def whole_layers(profile: Profile) -> tuple[Layer, ...]:
    """Return a profile's layers with those that are cut as they were whole, these last."""
    return (*(layer for layer in profile.layers if not layer.part_of), *profile.uncut)


def _cut(profile: Profile, layer: str, pieces: Pieces) -> Profile:
    lengths = lengths_of(layer, pieces, {own.name: (own.features, own.uncuttable) for own in profile.layers})
    named = part_names(layer, len(lengths))
    found = [
        own
        for own in profile.blocks
        if own.layer == layer and [part.name for part in own.parts] == named and lengths_in(own) == lengths
    ]
    if not found:
        text = slicing_text({layer: lengths})
        anew = f"{FUNCTIONS['compare']}(…, slice='{text}')"
        if profile.typed:
            anew = command("plan", *profile.typed, slice=text)
        raise ConfigError(
            f"the profile of {profile.model} does not say what {layer} costs in blocks of "
            f"{', '.join(map(str, lengths))} features; measure that with {anew}"
        )
    names = [own.name for own in profile.layers]
    at = names.index(layer)
    whole, concat = profile.layers[at], named[-1]
    blocks = [part.casting_inputs(whole.input_cast_s, whole.input_cast_bytes) for part in found[0].parts[:-1]]
    return replace(
        profile,
        slicing=",".join(filter(None, [profile.slicing, slicing_text({layer: pieces})])),
        uncut=(*profile.uncut, profile.layers[at]),
        layers=(*profile.layers[:at], *blocks, found[0].parts[-1], *profile.layers[at + 1 :]),
        edges=cut_edges(profile.edges, names, layer, len(lengths)),
        inseparable=tuple(tuple(concat if name == layer else name for name in group) for group in profile.inseparable),
        outputs=tuple(concat if name == layer else name for name in profile.outputs),
    )
