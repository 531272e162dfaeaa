"""Choose which layers run in bfloat16: those that make a minibatch on one core the fastest, if the split then pays.

Each layer v is measured in float32, f(v), and under autocast, l(v). With L the layers under autocast,

    time(L) = Σ_{v ∈ L} l(v) + Σ_{v ∉ L} f(v) + Σ_{edges u → v, just one of them in L} cast(u)

where cast(u) is what a reader pays for a value that comes in the other type. A layer that casts no weights takes its
values as they come: it is in L only where all are whose values autocast would hand it in bfloat16. So the best L is a
minimum cut between what stays in float32 and what does not, which is exact. It is the best for one core; for stages
it is tried beside ``fp32`` and ``bf16``, and the precision of the fastest slowest stage is taken, if it is 2% faster
than float32. The split is the exact one for that precision.

Source: two-label energies by minimum cuts, after Kolmogorov and Zabih, "What energy functions can be minimized via
graph cuts?", PAMI 2004.
"""

from dataclasses import dataclass
from math import inf

import networkx as nx

from optimizer.costs import NANOSECONDS, layer_s
from optimizer.planning.slicing_choice import Bottleneck
from optimizer.schedule import Pace
from profiler.profile import BF16, FP32, INPUT, Profile, cast_bytes, in_precision, precision_text

LEAST_GAIN = 0.02
"""By which share of the slowest stage another precision has to pay."""
_LOWER, _FULL = "under autocast", "in float32"


@dataclass(frozen=True, slots=True)
class PrecisionChoice:
    """The precision that was chosen.

    Attributes:
        gain: By which share the slowest stage is faster than in float32; None where that keeps no limit.
    """

    precision: str
    gain: float | None


def choose_precision(profile: Profile, bottleneck: Bottleneck, pace: Pace) -> PrecisionChoice:
    """Return the precision that makes the slowest stage the fastest, float32 where none gains 2% over that.

    Args:
        profile: One with layers in both precisions.
        bottleneck: Plans for a profile, under the limits that the plan is to keep.
        pace: The schedule that the plans are for.
    """
    full_s = _slowest_s(profile, FP32, bottleneck)
    others = {
        precision: _slowest_s(profile, precision, bottleneck)
        for precision in dict.fromkeys([BF16, fastest_on_one_core(profile, pace)])
        if precision != FP32
    }
    best = min(others, key=others.__getitem__)
    if not pays(full_s, others[best]):
        return PrecisionChoice(FP32, 0.0)
    return PrecisionChoice(best, None if full_s == inf else full_s / others[best] - 1)


def pays(full_s: float, lower_s: float) -> bool:
    """Say whether a slowest stage in a lower precision is enough faster than one in float32."""
    return full_s >= (1 + LEAST_GAIN) * lower_s and lower_s != inf


def _slowest_s(profile: Profile, precision: str, bottleneck: Bottleneck) -> float:
    slowest_s = bottleneck(in_precision(profile, precision))
    return inf if slowest_s is None else slowest_s


def fastest_on_one_core(profile: Profile, pace: Pace) -> str:
    """Return the precision that minimises a minibatch's time on one core."""
    assert profile.lowered is not None
    graph: nx.DiGraph[str] = nx.DiGraph()
    pairs = dict(zip((layer.name for layer in profile.layers), profile.lowered.layers, strict=True))
    full = {layer.name: layer for layer in profile.layers}
    for name, lower in pairs.items():
        graph.add_edge(_LOWER, name, capacity=_nanoseconds(layer_s(full[name], pace)))
        graph.add_edge(name, _FULL, capacity=_nanoseconds(layer_s(lower, pace)))
    for edge in profile.edges:
        if edge.source == INPUT or edge.kind != "data":
            continue
        size = cast_bytes(full[edge.source], pairs[edge.source])
        cost_ns = _nanoseconds(profile.lowered.cast_cost.seconds(size))
        graph.add_edge(edge.source, edge.target, capacity=cost_ns)
        if size and not pairs[edge.target].cast_bytes:
            graph.add_edge(edge.target, edge.source)  # without a capacity: such a cut is not to be had
        elif not graph.has_edge(edge.target, edge.source):
            graph.add_edge(edge.target, edge.source, capacity=cost_ns)
    for group in profile.inseparable:
        nx.add_cycle(graph, group)
        for first, other in zip(group, (*group[1:], group[0]), strict=True):
            graph[first][other].pop("capacity", None)
    _, (_, stay) = nx.minimum_cut(graph, _LOWER, _FULL)
    return precision_text(pairs, stay - {_FULL})


def _nanoseconds(time_s: float) -> int:
    return max(0, round(time_s * NANOSECONDS))
