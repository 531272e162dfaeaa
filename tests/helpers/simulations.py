"""Simulate with one duration for all actions of a kind in a stage; and what a run waits for."""

from collections.abc import Sequence
from itertools import pairwise

import networkx as nx

from optimizer.schedule import Action, Duration, Schedule, Span, by_kind, simulate


def simulated(schedule: Schedule, stages: Sequence[Duration]) -> list[list[Span]]:
    return simulate(schedule.pace, schedule.stages, schedule.minibatches, by_kind(stages))


def orders(spans: Sequence[Sequence[Span]]) -> list[list[Action]]:
    """What each stage did, in order."""
    return [[span.action for span in row] for row in spans]


def dependencies(rows: Sequence[Sequence[Action]]) -> "nx.DiGraph[Action]":
    """What has to end before what: a stage's order, activations down and gradients up."""
    graph: nx.DiGraph[Action] = nx.DiGraph()
    for row in rows:
        graph.add_nodes_from(row)
        graph.add_edges_from(pairwise(row))
        for action in row:
            for kind, other in (("F", action.stage - 1), ("B", action.stage + 1)):
                if action.kind == kind and 0 <= other < len(rows):
                    graph.add_edge(Action(other, kind, action.minibatch), action)
    return graph
