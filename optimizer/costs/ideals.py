"""Sets of layers that can stand before a cut: how to contract what no cut may separate, and how such sets are ordered.

A set of layers is a Python integer whose bit i stands for layer i in captured order. Layers that no cut may separate
are contracted, together with everything on a path between them (a strongly connected component once each group is made
a cycle). Listing ideals is ``search``'s affair.
"""

from collections.abc import Iterable, Sequence

import networkx as nx


def blocks(count: int, edges: Iterable[tuple[int, int]], inseparable: Iterable[Sequence[int]]) -> list[tuple[int, int]]:
    """Contract what no cut may separate.

    Args:
        count: Number of layers.
        edges: ``(before, after)`` pairs of layers.
        inseparable: Groups that no cut may separate.

    Returns:
        A ``(members, needs)`` pair of sets for each block, by last layer; ``needs`` are the layers outside the block
        that have to stand before it.
    """
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from(edges)
    for group in inseparable:
        nx.add_cycle(graph, group)
    merged = []
    for component in nx.strongly_connected_components(graph):
        members = sum(1 << layer for layer in component)
        needs = 0
        for layer in component:
            for before in graph.predecessors(layer):
                needs |= 1 << before
        merged.append((members, needs & ~members))
    return sorted(merged, key=lambda block: block[0].bit_length())


def prefixes(parts: Sequence[tuple[int, int]], count: int) -> list[int]:
    """Return the ideals of the form "the first k layers in captured order", k = 0 … ``count``, in rank order."""
    starts = {(members & -members).bit_length() - 1: members for members, _ in parts}
    ends = [0] * count
    for start, members in starts.items():
        ends[start] = members.bit_length()
    ideals, reach = [0], 0
    for layer in range(count):
        reach = max(reach, ends[layer])
        if reach <= layer + 1:
            ideals.append((1 << (layer + 1)) - 1)
    return ideals


def rank(ideal: int) -> tuple[int, str]:
    """Return the key by which "earliest cut" is decided: fewer layers, then the earlier ones in captured order."""
    return ideal.bit_count(), format(ideal, "b")[::-1].translate(_SWAPPED)


def members_of(layers: int) -> tuple[int, ...]:
    """Return the positions of a set's layers in captured order."""
    if layers.bit_count() > DENSE:
        return tuple(position for position, bit in enumerate(reversed(format(layers, "b"))) if bit == "1")
    members = []
    while layers:
        lowest = layers & -layers
        members.append(lowest.bit_length() - 1)
        layers ^= lowest
    return tuple(members)


def last_of(layers: int) -> int:
    """Return the position of a set's last layer."""
    return layers.bit_length() - 1


DENSE = 8
"""With more members than this, reading a set as a text is quicker than taking its bits off one by one."""
_SWAPPED = str.maketrans("01", "10")
