"""Work out what 1F1B gives for a plan's stages, with code that shares nothing with the simulator.

Actions are the nodes of a graph and what they wait for its edges; when each ends is the longest path to it.
"""

from itertools import pairwise

import networkx as nx

from optimizer.plan import Plan

Action = tuple[str, int, int]
"""Kind, stage, minibatch."""


def predictions(plan: Plan) -> dict[str, float]:
    """Return throughput in samples/s, makespan in seconds and bubble share of a plan under 1F1B."""
    stages, minibatches = len(plan.stages), plan.predicted.minibatches
    took: dict[Action, float] = {}
    graph: nx.DiGraph[Action] = nx.DiGraph()
    for number, stage in enumerate(plan.stages):
        order = _order(number, stages, minibatches)
        for action in order:
            took[action] = {
                "F": stage.forward_s + stage.send_forward_s,
                "B": stage.backward_s + stage.send_backward_s,
                "U": stage.update_s,
            }[action[0]]
        graph.add_nodes_from(order)
        graph.add_edges_from(pairwise(order))
    busy_s = sum(took.values())
    for cut in range(stages - 1):
        for batch in range(minibatches):
            graph.add_edge(("F", cut, batch), ("F", cut + 1, batch))
            graph.add_edge(("B", cut + 1, batch), ("B", cut, batch))
    end: dict[Action, float] = {}
    for action in nx.topological_sort(graph):
        end[action] = took[action] + max((end[before] for before in graph.predecessors(action)), default=0.0)
    makespan_s = max(end.values())
    first, count = (stages - 1, minibatches - stages) if minibatches > stages else (None, minibatches)
    started_s = 0.0 if first is None else end["B", stages - 1, first]
    ended_s = makespan_s if first is None else end["B", stages - 1, minibatches - 1]
    steady_s = ended_s - started_s
    return {
        "throughput_samples_per_s": plan.batch_size * count / steady_s if steady_s else 0.0,
        "makespan_s": makespan_s,
        "bubble_share": 1 - busy_s / (stages * makespan_s) if makespan_s else 0.0,
    }


def _order(stage: int, stages: int, minibatches: int) -> list[Action]:
    """Return a stage's actions: forwards until its depth is reached, then a backward before each further forward."""
    order: list[Action] = []
    ran = done = 0
    while done < minibatches:
        if ran < minibatches and ran - done < min(stages - stage, minibatches):
            order.append(("F", stage, ran))
            ran += 1
        else:
            order += [("B", stage, done), ("U", stage, done)]
            done += 1
    return order
