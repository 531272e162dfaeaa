"""Work out what a schedule gives for a plan's stages, with code that shares nothing with the simulator.

Actions are the nodes of a graph and what they wait for its edges; when each ends is the longest path to it. Of a long
run the graph holds as many whole rounds as its schedule lists, and its last one; that the others go on at the pace of
those at the end of the list, or of the busiest stage, is taken over, and not checked here.
"""

import math
from itertools import pairwise

import networkx as nx

from optimizer.plan import Plan

Action = tuple[str, int, int]
"""Kind, stage, minibatch."""


def predictions(plan: Plan) -> dict[str, float]:
    """Return throughput in samples/s, makespan in seconds and bubble share of a plan under its schedule."""
    stages, every = len(plan.stages), plan.update_every
    minibatches = plan.pace.listed(stages, plan.predicted.minibatches)
    if minibatches < plan.predicted.minibatches:
        minibatches += plan.predicted.minibatches % every
    further = plan.predicted.minibatches - minibatches
    took: dict[Action, float] = {}
    graph: nx.DiGraph[Action] = nx.DiGraph()
    for number, stage in enumerate(plan.stages):
        order = _order(plan, number, minibatches)
        for action in order:
            took[action] = {
                "F": (stage.forward_s + stage.send_forward_s) * stage.ease,
                "B": (stage.backward_s + stage.accumulate_s + stage.send_backward_s) * stage.ease,
                "U": stage.update_s * every * stage.ease,
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
    further_s = 0.0
    if further:
        rhythms = (math.lcm(every, *range(2, stages + 1)), every)
        whole = minibatches // every * every
        counted = next(whole // 2 // rhythm * rhythm for rhythm in rhythms if rhythm <= whole // 2)
        last = whole - 1
        mean_s = (end["B", stages - 1, last] - end["B", stages - 1, last - counted]) / counted
        busiest_s = max(
            took["F", stage, 0] + took["B", stage, 0] + took["U", stage, every - 1] / every for stage in range(stages)
        )
        further_s = further * max(mean_s, busiest_s)
    makespan_s = max(end.values())
    begun, until = every if every > 1 else stages, minibatches
    if minibatches > begun:
        whole = minibatches // every * every
        until = minibatches if whole <= begun else whole
        count, steady_s = until - begun, end["B", stages - 1, until - 1] - end["B", stages - 1, begun - 1]
    else:
        count, steady_s = minibatches, makespan_s
    steady_s, makespan_s = steady_s + further_s, makespan_s + further_s
    busy_s += busy_s * further / minibatches
    return {
        "throughput_samples_per_s": plan.batch_size * (count + further) / steady_s if steady_s else 0.0,
        "makespan_s": makespan_s,
        "bubble_share": 1 - busy_s / (stages * makespan_s) if makespan_s else 0.0,
    }


def _order(plan: Plan, stage: int, minibatches: int) -> list[Action]:
    """Return a stage's actions: forwards as far as it may go ahead, then a backward before each further forward."""
    every = plan.update_every
    ahead = every if plan.schedule == "gpipe" else len(plan.stages) - stage
    order: list[Action] = []
    ran = done = 0
    while done < minibatches:
        end = minibatches if plan.schedule in {"1f1b", "2bw"} else min(minibatches, (done // every + 1) * every)
        if ran < end and ran - done < ahead:
            order.append(("F", stage, ran))
            ran += 1
        else:
            order.append(("B", stage, done))
            done += 1
            if done % every == 0 or done == minibatches:
                order.append(("U", stage, done - 1))
    return order
