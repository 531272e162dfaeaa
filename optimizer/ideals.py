"""Enumerate the ideals of a layer graph: the sets of layers that can stand before a cut.

An ideal (downset) I of a directed acyclic graph contains every predecessor of each of its members. A pipeline's cuts
are a chain of ideals ∅ ⊂ I₁ ⊂ … ⊂ V, so the set of all ideals is the search space of the exact planner. Layers that no
cut may separate are contracted, together with everything on a path between them (a strongly connected component once
each group is made a cycle).

A set of layers is a Python integer whose bit i stands for layer i in captured order. Enumerating is breadth first, one
block at a time: O(|ideals| · |blocks|) set operations.

Source: Tarnawski et al., "Efficient Algorithms for Device Placement of DNN Graph Operators", NeurIPS 2020, section 5.
"""

from collections.abc import Iterable, Sequence

import networkx as nx

LIMIT = 6000
"""Above this many ideals the cost matrix (8 bytes for each pair) no longer fits comfortably into memory."""


def blocks(count: int, edges: Iterable[tuple[int, int]], together: Iterable[Sequence[int]]) -> list[tuple[int, int]]:
    """Contract what no cut may separate.

    Args:
        count: Number of layers.
        edges: ``(before, after)`` pairs of layers.
        together: Groups that no cut may separate.

    Returns:
        A ``(members, needs)`` pair of sets for each block, by last layer; ``needs`` are the layers outside the block
        that have to stand before it.
    """
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from(edges)
    for group in together:
        nx.add_cycle(graph, group)
    found = []
    for component in nx.strongly_connected_components(graph):
        members = sum(1 << layer for layer in component)
        needs = 0
        for layer in component:
            for before in graph.predecessors(layer):
                needs |= 1 << before
        found.append((members, needs & ~members))
    return sorted(found, key=lambda block: block[0].bit_length())


def enumerate_ideals(parts: Sequence[tuple[int, int]], limit: int = LIMIT) -> list[int] | None:
    """Return all ideals, ∅ and V among them, or None if there are more than ``limit``.

    They are in rank order: fewer layers first, then earlier layers first.
    """
    found = {0}
    frontier = [0]
    while frontier:
        following: list[int] = []
        for ideal in frontier:
            for members, needs in parts:
                if not ideal & members and needs & ~ideal == 0 and (grown := ideal | members) not in found:
                    found.add(grown)
                    following.append(grown)
            if len(found) > limit:
                return None
        frontier = following
    return sorted(found, key=rank)


def prefixes(parts: Sequence[tuple[int, int]], count: int) -> list[int]:
    """Return the ideals of the form "the first k layers in captured order", k = 0 … ``count``, in rank order."""
    starts = {(members & -members).bit_length() - 1: members for members, _ in parts}
    ends = [0] * count
    for start, members in starts.items():
        ends[start] = members.bit_length()
    found, reach = [0], 0
    for layer in range(count):
        reach = max(reach, ends[layer])
        if reach <= layer + 1:
            found.append((1 << (layer + 1)) - 1)
    return found


def rank(ideal: int) -> tuple[int, tuple[int, ...]]:
    """Return the key by which "earliest cut" is decided."""
    return ideal.bit_count(), members_of(ideal)


def members_of(layers: int) -> tuple[int, ...]:
    """Return the positions of a set's layers in captured order."""
    return tuple(position for position in range(layers.bit_length()) if layers >> position & 1)
