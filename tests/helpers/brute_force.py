"""Every assignment of layers to stages, its objectives and its memory: written from the problem statement."""

from collections.abc import Iterator, Sequence
from itertools import product

import networkx as nx

from optimizer.plan import Plan
from optimizer.schedule import PLAIN_1F1B, Pace
from profiler.profile import INPUT, Layer, Profile

Objective = tuple[int, int, tuple[tuple[int, tuple[int, ...]], ...]]


def work_ns(layer: Layer, pace: Pace, *, last: bool) -> int:
    """What a layer costs a minibatch, with its share of updates, straight from the cost model's words."""
    forward, backward, beside, in_place, adding = (
        round(time * 1e9)
        for time in (layer.forward_s, layer.backward_s, layer.update_s, layer.update_in_place_s, layer.accumulate_s)
    )
    every = pace.update_every
    update = beside if pace.name == "1f1b" and not last else in_place
    split = max(round(layer.splitting_s * 1e9), -backward) if pace.name == "zero-bubble" else 0
    return forward + backward + round(max(adding, -backward) * (every - 1) / every + split) + round(update / every)


def sending_ns(profile: Profile, size: int) -> int:
    """What a message costs: a latency and a time a byte; nothing of one without bytes."""
    return round((profile.copy_cost.latency_s + profile.copy_cost.s_per_byte * size) * 1e9) if size else 0


def crossings(profile: Profile, stage_of: dict[str, int], stages: int) -> Iterator[tuple[int, int, int]]:
    """Each cut that a value crosses, with the bytes that go down and those that come up."""
    sizes = {layer.name: (layer.output_bytes, layer.gradient_bytes) for layer in profile.layers}
    sizes[INPUT] = (profile.input_bytes, 0)
    for name, (output, gradient) in sizes.items():
        readers = [stage_of[e.target] for e in profile.edges if e.source == name and e.kind == "data"]
        readers += [stages - 1] if name in profile.outputs else []
        home = 0 if name == INPUT else stage_of[name]
        for cut in range(home, max(readers, default=home)):
            yield cut, output, gradient


def stage_costs(profile: Profile, stage_of: dict[str, int], stages: int, pace: Pace = PLAIN_1F1B) -> list[int]:
    """What each stage costs a minibatch, straight from the cost model's words."""
    costs = [0] * stages
    for layer in profile.layers:
        stage = stage_of[layer.name]
        costs[stage] += work_ns(layer, pace, last=stage == stages - 1)
    costs[-1] += round(profile.loss.forward_s * 1e9) + round(profile.loss.backward_s * 1e9)
    down, up = [0] * stages, [0] * stages
    for cut, output, gradient in crossings(profile, stage_of, stages):
        down[cut] += output
        up[cut + 1] += gradient
    return [own + sending_ns(profile, down[at]) + sending_ns(profile, up[at]) for at, own in enumerate(costs)]


def objective(profile: Profile, stage_of: dict[str, int], stages: int, pace: Pace = PLAIN_1F1B) -> Objective:
    """Bottleneck, the sum of the squares of all stages in units of it, and where the cuts are."""
    costs = stage_costs(profile, stage_of, stages, pace)
    unit = max(1, max(costs) // 2**20)
    order = [layer.name for layer in profile.layers]
    cuts = []
    for cut in range(stages - 1):
        before = tuple(index for index, name in enumerate(order) if stage_of[name] <= cut)
        cuts.append((len(before), before))
    return max(costs), sum((cost // unit) ** 2 for cost in costs), tuple(cuts)


def legal_assignments(profile: Profile, stages: int) -> Iterator[dict[str, int]]:
    names = [layer.name for layer in profile.layers]
    for choice in product(range(stages), repeat=len(names)):
        stage_of = dict(zip(names, choice, strict=True))
        if len(set(choice)) < stages:
            continue
        if any(e.source != INPUT and stage_of[e.source] > stage_of[e.target] for e in profile.edges):
            continue
        if all(len({stage_of[name] for name in group}) == 1 for group in profile.inseparable):
            yield stage_of


def stage_map(plan: Plan) -> dict[str, int]:
    return {layer: number for number, stage in enumerate(plan.stages) for layer in stage.layers}


def needed(profile: Profile, names: Sequence[str]) -> frozenset[str]:
    """What has to stand before a cut directly behind ``names``, groups kept whole."""
    graph: nx.DiGraph[str] = nx.DiGraph((e.source, e.target) for e in profile.edges if e.source != INPUT)
    graph.add_nodes_from(layer.name for layer in profile.layers)
    for group in profile.inseparable:
        nx.add_cycle(graph, group)
    return frozenset(one for name in names for one in nx.ancestors(graph, name) | {name})


def befores(stage_of: dict[str, int], stages: int) -> list[frozenset[str]]:
    """The layers before each cut, the ends left out."""
    return [frozenset(name for name, stage in stage_of.items() if stage <= cut) for cut in range(stages - 1)]


def ahead(stages: int, minibatches: int, pace: Pace) -> list[int]:
    """How many minibatches each stage has between forward and backward."""
    most = minibatches if pace.name == "1f1b" else min(minibatches, pace.update_every)
    most = min(most, pace.held) if pace.name == "zero-bubble" else most
    before = {
        "zero-bubble": [2 * (stages - stage) - 1 for stage in range(stages)],
        "gpipe": [most] * (stages - 1) + [1],
    }.get(pace.name, [stages - stage for stage in range(stages)])
    return [min(most, own) for own in before]


def in_flight(stages: int, minibatches: int, pace: Pace) -> list[int]:
    """How many minibatches each stage has between forward and the gradients of its weights."""
    if pace.name != "zero-bubble":
        return ahead(stages, minibatches, pace)
    return [min(pace.held, minibatches, pace.update_every)] * stages


def slots(stages: int, minibatches: int, pace: Pace) -> list[tuple[int, int]]:
    """How many activations, and how many gradients, there is room for behind each stage but the last."""
    before, held = ahead(stages, minibatches, pace), in_flight(stages, minibatches, pace)
    left = held if pace.name == "zero-bubble" else [0] * stages
    return [(min(before[s] + left[s + 1], minibatches), held[s]) for s in range(stages - 1)]


def memory(
    profile: Profile, stage_of: dict[str, int], stages: int, minibatches: int, pace: Pace = PLAIN_1F1B
) -> list[int]:
    """What each stage holds, straight from the words of the memory model."""
    before, held = ahead(stages, minibatches, pace), in_flight(stages, minibatches, pace)
    versions = held if pace.name == "1f1b" else [1] * stages
    momentum = profile.momenta
    found = []
    for stage in range(stages):
        total = profile.heap_bytes
        for layer in profile.layers:
            if stage_of[layer.name] == stage:
                total += layer.parameter_bytes - layer.learning_bytes
                total += layer.learning_bytes * (versions[stage] + 1 + momentum)
                total += (layer.saved_bytes - layer.cast_bytes) * before[stage]
                total += layer.left_bytes * (held[stage] - before[stage])
                total += layer.cast_bytes * versions[stage]
        found.append(total)
    room = slots(stages, minibatches, pace)
    for cut, down, up in crossings(profile, stage_of, stages):
        for stage in (cut, cut + 1):
            found[stage] += down * room[cut][0] + up * room[cut][1]
    return found
