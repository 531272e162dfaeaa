"""The graph of a model in which a layer is cut inside: its blocks, and the concat that puts their outputs together.

The blocks are chained by order edges, for they are interchangeable and would only multiply the cuts. What else reads
the layer's input keeps its place beside the blocks, so that the input's gradient is summed up in the same order
wherever the cuts fall.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from profiler.profile.layers import INPUT, Edge

BLOCK, CONCAT = "block", "concat"


def part_names(layer: str, count: int) -> list[str]:
    """Return what the blocks of a layer are called, in order, and then its concat."""
    return [*(f"{layer}.{BLOCK}{number}" for number in range(count)), f"{layer}.{CONCAT}"]


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
