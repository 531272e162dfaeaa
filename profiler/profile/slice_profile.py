"""Slicing: which layers are cut into how many blocks of output features, and a profile with its layers so cut.

A slicing is written ``classifier.1=4,features.2=2``; nothing stands for a model whose layers are whole. A layer that is
cut becomes its blocks, chained by order edges, for they are interchangeable and would only multiply the cuts, and a
concat that reads them all. What else reads the layer's input keeps its place beside the blocks, so that the input's
gradient is summed up in the same order wherever the cuts fall.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from profiler.errors import ConfigError, suggest
from profiler.profile.profile import INPUT, Edge, Layer, Profile

BLOCK, CONCAT = "block", "concat"


def parse_slicing(text: str) -> dict[str, int]:
    """Return how many blocks each layer of a slicing is cut into.

    Raises:
        ConfigError: It is not written as one, names a layer twice, or wants fewer than two blocks.
    """
    counts: dict[str, int] = {}
    for part in text.split(",") if text else []:
        layer, _, number = part.strip().rpartition("=")
        if not layer or not number.isdecimal() or layer in counts:
            raise ConfigError(
                f"'{part}' in the slicing '{text}' is no layer with its blocks; write classifier.1=4, say"
            )
        if int(number) < 2:
            raise ConfigError(f"{layer} cannot be cut into {number} blocks; name 2 or more, or leave it out")
        counts[layer] = int(number)
    return counts


def slicing_text(counts: Mapping[str, int]) -> str:
    """Return a slicing as it is written."""
    return ",".join(f"{layer}={count}" for layer, count in counts.items())


def part_names(layer: str, count: int) -> list[str]:
    """Return what the blocks of a layer are called, in order, and then its concat."""
    return [*(f"{layer}.{BLOCK}{number}" for number in range(count)), f"{layer}.{CONCAT}"]


def refuse_whole(layer: str, count: int, layers: Mapping[str, tuple[int, str]]) -> None:
    """Refuse to cut a layer that is not there, cannot be cut, or has fewer features than blocks are wanted.

    Args:
        layer: Its name.
        count: How many blocks are wanted.
        layers: For each layer its output features, and why it cannot be cut; nothing where it can.

    Raises:
        ConfigError: It cannot be done.
    """
    if layer not in layers:
        can = [name for name, (_, reason) in layers.items() if not reason]
        raise ConfigError(f"there is no layer '{layer}' to slice{suggest(layer, can or layers)}")
    features, reason = layers[layer]
    if reason:
        raise ConfigError(f"{layer} cannot be sliced: {reason}; leave it out of --slice")
    if count > features:
        raise ConfigError(f"{layer} has {features} output features and cannot be cut into {count} blocks; name fewer")


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
    for layer, count in parse_slicing(slicing).items():
        profile = _cut(profile, layer, count)
    return replace(profile, blocks=())


def whole_layers(profile: Profile) -> tuple[Layer, ...]:
    """Return a profile's layers with those that are cut as they were whole, these last."""
    return (*(layer for layer in profile.layers if not layer.part_of), *profile.uncut)


def _cut(profile: Profile, layer: str, count: int) -> Profile:
    refuse_whole(layer, count, {own.name: (own.features, own.whole) for own in profile.layers})
    named = part_names(layer, count)
    found = [own for own in profile.blocks if [part.name for part in own.parts] == named]
    if not found:
        raise ConfigError(
            f"the profile of {profile.model} does not say what {layer} costs in {count} blocks; leave out --profile "
            "and have it measured"
        )
    names = [own.name for own in profile.layers]
    at = names.index(layer)
    concat = named[-1]
    return replace(
        profile,
        slicing=",".join(filter(None, [profile.slicing, slicing_text({layer: count})])),
        uncut=(*profile.uncut, profile.layers[at]),
        layers=(*profile.layers[:at], *found[0].parts, *profile.layers[at + 1 :]),
        edges=cut_edges(profile.edges, names, layer, count),
        inseparable=tuple(tuple(concat if name == layer else name for name in group) for group in profile.inseparable),
        outputs=tuple(concat if name == layer else name for name in profile.outputs),
    )
