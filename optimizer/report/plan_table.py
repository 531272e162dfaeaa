"""Show a plan stage by stage, and beside the plans of the schemes."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from optimizer.costs import NANOSECONDS, members_of
from optimizer.plan import BOUNDED, EXACT, Plan, distinct, waiting_words
from optimizer.planning import LOWERED, OPTIMIZED, SLICED, Models, Planner
from profiler.profile import BF16, FP32, Profile, pieces_of
from profiler.report import ResultTable, counted, mib, ms

if TYPE_CHECKING:
    from rich.console import Console

MOST_TIMES = 1.05
"""So many times one core is a stage worth at most: a little more, for costs are known so well only."""
EQUAL = 0.01
"""Promises that are no further apart are no reason to prefer one plan to another."""
_NAMES_WIDTH = 24
"""Partitions of one split are listed beside each other up to there."""


def show_plan(
    plan: Plan,
    console: "Console",
    profile: Profile | None = None,
    alone: Profile | None = None,
    *,
    rivals: Mapping[str, Plan] = MappingProxyType({}),
    cores: int | None = None,
) -> None:
    """Print the stages of a plan, and what it is expected to give.

    Args:
        plan: The plan.
        console: Where to.
        profile: The profile that it was made for, if that is at hand: says how well costs are known.
        alone: Of what one core runs; None: of the same model.
        rivals: Plans by rules of thumb, of which none is expected to be faster where this one is called the best.
        cores: How many there are; None: not known.
    """
    from rich.text import Text

    stages = counted(plan.num_stages, "stage")
    precision = f"{plan.precision}, " if plan.form.lowered else ""
    stages += "" if plan.method in (EXACT, BOUNDED) else f" by {plan.method}"
    over = (
        f", over {8e-6 / max(plan.link.s_per_byte, 1e-15):g} Mbit/s and {plan.link.latency_s * 1e3:g} ms"
        if plan.link
        else ""
    )
    what = f"{plan.model}, batch {plan.batch_size}, {precision}{stages}, {plan.planned_for.words}{over}"
    loud = _too_loud(plan, profile, alone or profile) if profile else ""
    no_verdict = "no verdict, for the machine was too loud when it was profiled"
    console.print(f"{what}: {no_verdict if loud else _claim(plan, profile, rivals)}.")
    if sentence := not_these_cores(plan.num_stages, cores, "plans for those"):
        console.print(sentence)
    table = ResultTable(
        "",
        ("stage", "layers", "of time", "total ms", "RAM MiB", "sent MiB"),
        words=("layers",),
        compact=True,
    )
    total_s = sum(stage.total_s for stage in plan.stages) or 1.0
    for index, stage in enumerate(plan.stages):
        slowest = stage.total_s == max(other.total_s for other in plan.stages)
        table.add_row(
            str(index),
            f"{stage.layers[0]} … {stage.layers[-1]}",
            f"{stage.total_s / total_s:.0%}",
            Text(ms(stage.total_s), style="bold" if slowest else ""),
            mib(stage.memory_bytes, 1),
            mib(stage.send_bytes, 1),
        )
    console.print("", table, "", sep="\n")
    console.print(loud or expectation(plan))
    if sentence := waiting_words(plan):
        console.print(f"{sentence[0].upper()}{sentence[1:]}.")


def not_these_cores(stages: int, cores: int | None, remedy: str) -> str:
    """Say that a split is worked out for more cores than there are; nothing where there are enough.

    Args:
        stages: How many the split has.
        cores: How many there are; None: not known.
        remedy: What fewer stages do: ``measures it``.
    """
    if cores is None or stages <= cores:
        return ""
    fewer = f": --stages {cores} {remedy}" if cores > 1 else ""
    return f"Worked out for {stages} cores; this machine has {cores}{fewer}."


def _too_loud(plan: Plan, profile: Profile, alone: Profile) -> str:
    """Say why nothing is promised, if the profile is of a machine that was too loud to tell; else nothing."""
    if profile.loud:
        why = f"what a stage takes is known to {profile.known_to} only"
    elif _cannot_be(plan, alone):
        why = "by the profile so many stages would be faster than so many cores can be"
    else:
        return ""
    return f"Nothing is promised: {why}; profile again when less else runs."


def _claim(plan: Plan, profile: Profile | None, rivals: Mapping[str, Plan]) -> str:
    """Say how good the split is, for the profile that it was made for, and how well that one is known."""
    faster = "" if plan.limits else _best_of(rivals)  # which keep no limits
    if plan.optimal and faster and promised(rivals[faster]) > (1 + EQUAL) * promised(plan):
        short = f"over {counted(plan.predicted.minibatches, 'minibatch')} {faster} is expected to be faster"
        return f"the most even split for this profile, but {short}"
    known = f" (known to {profile.known_to})" if profile and profile.uncertainty else ""
    if plan.optimal:
        return f"the best split{plan.limits} for this profile{known}"
    return f"at most {plan.gap:.1%} slower than the best split{plan.limits} for this profile{known}"


def expectation(plan: Plan) -> str:
    """Return what a plan is expected to give, and how sure that is."""
    predicted = plan.predicted
    start = f"Expected over {counted(predicted.minibatches, 'minibatch')}: "
    start += f"{predicted.promised_samples_per_s:.1f} samples/s"
    if expected := predicted.expected:
        between = f"{expected.low:.1f} to {expected.high:.1f} in 90% of runs"
        return f"{start} ({between}), if the machine is as fast as when profiled."
    return f"{start}, of steady stages: the profile keeps no rounds, so how unsteady they are is not known."


def show_gain(
    plan: Plan,
    rivals: Mapping[str, Plan],
    planner: "Planner",
    console: "Console",
    *,
    alone: Profile | None = None,
) -> None:
    """Print how a plan compares with one core and with the best of the rules of thumb, and what bounds any split."""
    alone = alone or planner.profile  # what one core runs
    if plan.num_stages == 1 or _too_loud(plan, planner.profile, alone):
        return
    most, costliest = _ceiling(planner, alone)
    times = min(most, promised(plan) * alone.lone_core_s / plan.batch_size)
    said = [f"{times:.2f} times one core"] if times else []
    if best := _best_of(rivals):
        rules = counted(len(rivals), "rule") + " of thumb"
        said.append(f"{promised(plan) / promised(rivals[best]):.2f} times the best of {rules} ({best})")
    if said:
        console.print(f"That is {' and '.join(said)}; --all lists each.")
    if 0 < times < 1 - EQUAL:
        console.print("Do not split: one core is expected to be faster.")
    console.print(_bound(most, costliest, plan.num_stages))


def promised(plan: Plan) -> float:
    """Return the samples per second that a plan promises."""
    return plan.predicted.promised_samples_per_s


def _best_of(plans: Mapping[str, Plan]) -> str:
    """Return the name of the plan that promises most; nothing where there is none."""
    return max(plans, key=lambda name: promised(plans[name]), default="")


def show_partitions(plans: Mapping[str, Plan], console: "Console") -> None:
    """Print what each partition is predicted to give, best first, its stages' shares side by side."""
    first = next(iter(plans.values()))
    limit = first.memory_limit_bytes
    table = ResultTable(
        "All partitions, stage by stage",
        ("partition", "of time", "slowest ms", "samples/s"),
        words=("partition",),
        caption="Shares in per cent, stage by stage. "
        f"Samples/s: expected over {first.predicted.minibatches} minibatches, with a core for every stage; short "
        "runs flatter splits with a slow first stage, see --batches."
        + (f" An asterisk: a stage above --memory-limit, which binds {OPTIMIZED} only." if limit else ""),
    )
    for names, plan in sorted(_together(plans), key=lambda item: item[1].bottleneck_s):
        above = limit is not None and any(stage.memory_bytes > limit for stage in plan.stages)
        table.add_row(
            textwrap.fill(f"{' = '.join(names)}{'*' if above else ''}", _NAMES_WIDTH),
            _shares([stage.total_s for stage in plan.stages]),
            ms(plan.bottleneck_s),
            f"{plan.predicted.promised_samples_per_s:.1f}",
        )
    console.print(table)


def _together(plans: Mapping[str, Plan]) -> list[tuple[list[str], Plan]]:
    """Return each distinct split once, with the names of all that choose it."""
    names, every_plan = list(plans), list(plans.values())
    groups: dict[int, list[str]] = {}
    for name, first in zip(names, distinct(every_plan), strict=True):
        groups.setdefault(first, []).append(name)
    return [(group, every_plan[first]) for first, group in groups.items()]


def _cannot_be(plan: Plan, profile: Profile) -> bool:
    """Say whether a plan promises more than a core for each stage could give: its profile was too loud to tell.

    Never of one that updates less often than one core does: these cannot be compared.
    """
    times = promised(plan) * profile.lone_core_s / plan.batch_size
    return plan.update_every == 1 and times > MOST_TIMES * plan.num_stages


def _ceiling(planner: Planner, alone: Profile) -> tuple[float, list[str]]:
    """Return how many times one core any split can be at most, and the layers of the part that sets it."""
    costs = planner.costs
    least_s = []
    for layer, own_ns in zip(costs.layers, costs.least_ns, strict=True):
        known = layer.alone_s is not None and layer.step_s
        beside_none = min(1.0, (layer.alone_s or 0.0) / layer.step_s) if known else 1.0
        least_s.append(own_ns * beside_none / NANOSECONDS)
    parts = [members_of(members) for members, _ in costs.parts]
    sizes_s = [sum(least_s[at] for at in members) for members in parts]
    largest = max(range(len(parts)), key=sizes_s.__getitem__)
    times = alone.lone_core_s / max(sizes_s[largest], 1 / NANOSECONDS)
    return times, [costs.layers[at].name for at in parts[largest]]


def _bound(times: float, layers: Sequence[str], stages: int) -> str:
    """Say how fast any split can be at best: the costliest part cannot be cut."""
    largest, share = " with ".join(layers[:2]), 1 / times if times else 1.0
    if share * stages <= 1:
        return f"No layer exceeds an even share, 1/{stages} of a step: the largest, {largest}, has {share:.0%}."
    return (
        f"The costliest, {largest}, takes {share:.0%} of one core's step, so no split is more than "
        f"{times:.2f} times as fast as one core."
    )


def _shares(amounts: Sequence[float]) -> str:
    total = sum(amounts) or 1
    return " ".join(f"{100 * amount / total:.0f}" for amount in amounts)


def model_sentences(models: Models, names: Iterable[str] = (LOWERED,)) -> tuple[list[str], list[str]]:
    """Return what was chosen of precision and slices, and why nothing was chosen.

    These are sentences without a full stop.

    Args:
        models: What plans.
        names: The partitions that are wanted; without ``sliced``, nothing is said of what is cut in float32 where
            another precision is faster.
    """
    gains: list[str] = []
    reasons: list[str] = []
    full = models.sliced or models.whole
    if models.lowered:
        gains.append(f"all layers run in {BF16}: {_gain(full, models.lowered, f'than in {FP32}')}")
        if models.lowered.profile.slicing:
            gains.append(f"cut inside: {_blocks(models.lowered)}")
    elif models.why_full:
        reasons.append(models.why_full)
    if models.sliced and (not models.lowered or SLICED in names):
        gains.append(f"cut inside: {_blocks(models.sliced)}; {_gain(models.whole, models.sliced, 'than whole')}")
    elif models.why_whole and not models.lowered:
        reasons.append(models.why_whole)
    return gains, reasons


def _blocks(planner: "Planner") -> str:
    return " and ".join(
        f"{layer} into {pieces[0] if len(pieces) == 1 else len(pieces)} blocks"
        for layer, pieces in pieces_of(planner.profile.slicing).items()
    )


def _gain(slow: "Planner", fast: "Planner", than: str) -> str:
    """Say by how much the slowest stage is faster."""
    if slow.expected_s is None or fast.expected_s is None:
        return "without that no split keeps the limits"
    share = slow.expected_s / fast.expected_s - 1
    return f"the slowest stage is {abs(share):.0%} {'slower' if share < 0 else 'faster'} {than}"
