"""Check what a plan claims against its profile, with code that shares nothing with the search that found it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from optimizer.check.lower_bound import Downwards
from optimizer.check.pricing import Words, nanoseconds
from optimizer.check.schedule_again import predictions
from optimizer.plan import Plan
from profiler.profile import ModelCosts

TOLERANCE_S, RELATIVE, ROUNDED = 2e-9, 1e-9, 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One claim of a plan that was checked: whether it holds (None: it could not be told) and what was found."""

    holds: bool | None
    text: str


def check(plan: Plan, model: ModelCosts) -> list[Finding]:
    """Return what a plan claims and whether it holds for the model in its form."""
    words = Words(model, plan.planned_for.name, plan.planned_for.update_every)
    faults = list(_infeasibilities(plan, words))
    if plan.pace != plan.planned_for:
        faults = [f"the plan was found for {plan.planned_for.words} and tells of {plan.pace.words}; plan for that anew"]
    if faults:
        return [Finding(holds=False, text=fault) for fault in faults]
    findings = [
        Finding(holds=True, text="feasible: every layer once, no stage empty, no edge against the flow, limits kept")
    ]
    differences = list(_differences(plan, words))
    findings += [Finding(holds=False, text=difference) for difference in differences]
    if not differences:
        findings.append(
            Finding(holds=True, text="costs: times, bytes and memory of every stage are as the profile gives them")
        )
    elsewhere = [Finding(holds=False, text=text) for text in _broken_predictions(plan)]
    said = f"predictions: throughput, makespan and bubbles are what {plan.pace.words} gives when worked out again"
    findings += elsewhere or [Finding(holds=True, text=said)]
    findings.append(_bound(plan, words))
    if plan.optimal and plan.bottleneck_s - plan.lower_bound_s > TOLERANCE_S:
        findings.append(Finding(holds=False, text="called optimal, and its bottleneck is above its lower bound"))
    return findings


def holds(findings: Sequence[Finding]) -> bool:
    """Say whether nothing was found wrong."""
    return all(finding.holds is not False for finding in findings)


def _befores(plan: Plan) -> list[set[str]]:
    """Return the layers before each cut, both ends included."""
    sets: list[set[str]] = [set()]
    for stage in plan.stages:
        sets.append(sets[-1] | set(stage.layers))
    return sets


def _infeasibilities(plan: Plan, words: Words) -> Iterator[str]:
    listed = [name for stage in plan.stages for name in stage.layers]
    if len(plan.stages) != plan.num_stages:
        yield f"the plan says {plan.num_stages} stages and lists {len(plan.stages)}"
    elif sorted(listed) != sorted(words.layers):
        odd = sorted(set(listed) ^ set(words.layers)) or [name for name in listed if listed.count(name) > 1]
        yield f"the stages do not hold every layer once, see {odd[0]}"
    else:
        yield from _separations(plan, words)
        yield from _broken_limits(plan, words)


def _separations(plan: Plan, words: Words) -> Iterator[str]:
    home = {name: number for number, stage in enumerate(plan.stages) for name in stage.layers}
    for source, target in words.graph.edges:
        if home[source] > home[target]:
            yield f"{target} in stage {home[target]} needs {source} in stage {home[source]}"
    for group in words.model.inseparable:
        if len({home[name] for name in group}) > 1:
            yield f"{', '.join(group)} have to stay together"


def _broken_limits(plan: Plan, words: Words) -> Iterator[str]:
    befores = _befores(plan)
    for names in plan.cut_after:
        if any(name not in words.layers for name in names) or words.needed(names) not in befores[1:-1]:
            yield f"no cut stands behind {', '.join(names)}, which was forced"
    limit = plan.memory_limit_bytes
    for stage, (before, through) in enumerate(pairwise(befores)):
        needed = words.memory_bytes(plan, stage, before, through)
        if limit is not None and needed > limit:
            yield f"stage {stage} needs {needed} bytes and the limit is {limit}"


def _differences(plan: Plan, words: Words) -> Iterator[str]:
    totals_ns = []
    eases = words.eases(plan)
    for number, (stage, (before, through)) in enumerate(zip(plan.stages, pairwise(_befores(plan)), strict=True)):
        last = number == plan.num_stages - 1
        down, up = words.crossing(through), words.crossing(before)
        compute_ns = sum(words.compute_ns[name] for name in stage.layers) + (words.loss_ns if last else 0)
        forward_ns = sum(words.forward_ns[name] for name in stage.layers) + (words.loss_forward_ns if last else 0)
        beside_ns, in_place_ns, adding_ns = (
            sum(times[name] for name in stage.layers) for times in (words.beside_ns, words.in_place_ns, words.adding_ns)
        )
        every = words.update_every
        update_ns = (in_place_ns if words.in_place(last=last) else beside_ns) / every
        down_ns, up_ns = sum(map(words.down_ns.__getitem__, down)), sum(map(words.up_ns.__getitem__, up))
        own_ns = sum(words.work_ns[name] - (words.saving_ns[name] if last else 0) for name in stage.layers)
        totals_ns.append(own_ns + (words.loss_ns if last else 0) + down_ns + up_ns)
        priced: dict[str, Any] = {
            "forward_s": forward_ns / 1e9,
            "backward_s": (compute_ns - forward_ns) / 1e9,
            "send_forward_s": down_ns / 1e9,
            "send_backward_s": up_ns / 1e9,
            "flops": sum(words.layers[name].flops for name in stage.layers),
            "compute_s": compute_ns / 1e9,
            "accumulate_s": adding_ns * (every - 1) / every / 1e9,
            "adding_s": adding_ns / 1e9,
            "update_s": update_ns / 1e9,
            "update_beside_s": beside_ns / 1e9,
            "update_in_place_s": in_place_ns / 1e9,
            "send_s": (down_ns + up_ns) / 1e9,
            "receive_s": 0.0,
            "message_down_s": 0.0,
            "message_up_s": 0.0,
            "latency_down_s": 0.0,
            "latency_up_s": 0.0,
            "memory_bytes": words.memory_bytes(plan, number, before, through),
            "send_bytes": sum(map(words.down_bytes, down)) + sum(map(words.up_bytes, up)),
            "sizes": words.held(before, through),
            "boundary": tuple(down),
            "ease": eases[number][0],
            "doubt": eases[number][1],
            "noise": words.noise(stage.layers, last=last),
        }
        for name, price in priced.items():
            claim = getattr(stage, name)
            near = isinstance(claim, float) and isinstance(price, float) and abs(claim - price) <= TOLERANCE_S
            near = near or (name == "noise" and _alike(claim, price))
            if not near and claim != price:
                yield f"stage {number}: {name} is {price} by the profile and {claim} in the plan"
    bottleneck_s = max(totals_ns) / 1e9
    if abs(bottleneck_s - plan.bottleneck_s) > TOLERANCE_S:
        yield f"bottleneck_s is {bottleneck_s} by the profile and {plan.bottleneck_s} in the plan"
    for name in ("model", "model_digest", "batch_size", "input_shape", "vocabulary", "momenta", "crowding"):
        claim, price = getattr(plan, name), getattr(words.model.profile, name)
        if claim != price:
            yield f"{name} is {price} in the profile and {claim} in the plan"


def _alike(claimed: Sequence[float], priced: Sequence[float]) -> bool:
    """Say whether factors are the same, as they are rounded in a plan."""
    return len(claimed) == len(priced) and all(
        abs(claim - price) <= ROUNDED for claim, price in zip(claimed, priced, strict=True)
    )


def _broken_predictions(plan: Plan) -> Iterator[str]:
    for name, value in predictions(plan).items():
        said = getattr(plan.predicted, name)
        if abs(said - value) > RELATIVE * max(abs(value), 1.0):
            yield f"{name} is {value} when {plan.pace.words} is worked out again and {said} in the plan"


def _bound(plan: Plan, words: Words) -> Finding:
    """Say whether some legal split stays below the plan's lower bound."""
    bound = f"{plan.lower_bound_s * 1e3:.3f} ms"
    claim = f"so the plan is the best{plan.limits}" if plan.optimal else f"so none is more than {plan.gap:.1%} faster"
    if nanoseconds(plan.lower_bound_s) <= words.simple_bound_ns(plan.num_stages):
        reason = "for an even share of the whole or the largest part alone takes that much"
        return Finding(holds=True, text=f"bound: no split{plan.limits} is below {bound}, {reason}, {claim}")
    search = Downwards(plan, words)
    below = search.some_split_is_below(nanoseconds(plan.lower_bound_s))
    if below is None:
        return Finding(holds=None, text=f"bound: whether a split stays below {bound} was not checked: {search.reason}")
    if below:
        return Finding(holds=False, text=f"bound: some legal split stays below {bound}, the plan's lower bound")
    return Finding(
        holds=True, text=f"bound: none of {search.seen:,} ideals lies on a split{plan.limits} below {bound}, {claim}"
    )
