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
from typing import Literal

import networkx as nx

from optimizer.costs import NANOSECONDS, layer_s
from optimizer.planning.slicing_choice import LEAST_GAIN, Bottleneck, gains
from optimizer.schedule import Pace
from profiler.profile import BF16, BF16_FORM, FP32, INPUT, PLAIN_FORM, Form, Precision, Profile, cast_bytes

_LOWER, _FULL = "under autocast", "in float32"


@dataclass(frozen=True, slots=True)
class PrecisionChoice:
    """The precision that was chosen.

    Attributes:
        gain: By which share the slowest stage is faster than in float32; None where that keeps no limit.
        why_full: Why layers run in float32, where they do.
    """

    precision: Precision
    gain: float | None
    why_full: Literal["no gain", "not measured", "too loud"] = "no gain"


def choose_precision(profile: Profile, bottleneck: Bottleneck, pace: Pace) -> PrecisionChoice:
    """Return the precision that makes the slowest stage the fastest, float32 where none gains 2% over that.

    Args:
        profile: One with layers in both precisions; of another, float32 is all that is known.
        bottleneck: Plans for a model in a form, under the limits that the plan is to keep.
        pace: The schedule that the plans are for.
    """
    full = PLAIN_FORM.precision
    if profile.loud:
        return PrecisionChoice(full, 0.0, "too loud")
    if profile.lowered is None:
        return PrecisionChoice(full, 0.0, "not measured")
    slowest_s = {
        precision: bottleneck(profile.costs(Form(precision=precision)))
        for precision in dict.fromkeys([full, BF16_FORM.precision, fastest_on_one_core(profile, pace)])
    }
    best = min((own for own in slowest_s if own.lowered), key=lambda own: _or_inf(slowest_s[own]))
    return faster(best, slowest_s[full], slowest_s[best])


def faster(precision: Precision, full_s: float | None, lower_s: float | None) -> PrecisionChoice:
    """Return the choice between float32 and a precision, by the slowest stage of the best split in either.

    Args:
        precision: The other one.
        full_s: The slowest stage in float32; None where no split keeps the limits.
        lower_s: Likewise in the precision.
    """
    if lower_s is None or not gains(full_s, lower_s):
        return PrecisionChoice(PLAIN_FORM.precision, 0.0)
    return PrecisionChoice(precision, None if full_s is None else full_s / lower_s - 1)


def _or_inf(slowest_s: float | None) -> float:
    return inf if slowest_s is None else slowest_s


def fastest_on_one_core(profile: Profile, pace: Pace) -> Precision:
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
    return Precision.of(pairs, stay - {_FULL})


def _nanoseconds(time_s: float) -> int:
    return max(0, round(time_s * NANOSECONDS))


def why_full(choice: PrecisionChoice) -> str:
    """Return the reason why layers run in float32."""
    reasons = {
        "no gain": f"no choice of layers in {BF16} makes the slowest stage {LEAST_GAIN:.0%} faster",
        "not measured": f"the profile says nothing of {BF16}",
        "too loud": "the machine was too loud to tell whether another pays",
    }
    return f"layers run in {FP32}, for {reasons[choice.why_full]}"
