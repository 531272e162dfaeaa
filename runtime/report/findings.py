"""Say in a few sentences what a comparison shows: who is fastest and by how much, why, and what it is worth."""

from collections.abc import Sequence

import optimizer.report
from optimizer.plan import Plan
from profiler.profile import FP32
from profiler.report import counted, mib, shell_lines
from runtime.compare import Comparison, Contender, Estimate, apart, decided
from runtime.pipeline import taking_turns
from runtime.report.warnings import FIRM, firmness, too_loud

TIMES = 2.0
"""From this ratio on, speeds are told as times, not as per cent."""


def title(comparison: Comparison) -> str:
    """Return what was compared, in a few words."""
    asked = comparison.request
    return f"{asked.model}, batch {asked.batch_size}, {counted(asked.num_stages, 'stage')}"


def own_splits(comparison: Comparison) -> list[Contender]:
    """Return the partitions that ran themselves."""
    return [part for part in comparison.partitions if part.same_as is None]


def called(comparison: Comparison, part: Contender) -> str:
    """Return a split's names: its own, and those of the partitions that have the same split."""
    return " = ".join([part.name, *(other.name for other in comparison.partitions if other.same_as == part.name)])


def answer(comparison: Comparison) -> str:
    """Say which split is the fastest, and by how much, as the ranks have it; nothing where the machine was too loud."""
    splits, ties = comparison.came_through, comparison.ranking.ties
    if not splits:
        return "No split came through."
    if too_loud(comparison):
        return ""
    best, *others = splits
    if not others:
        only = "" if len(comparison.standing) > 1 else ", the only split"
        return f"{called(comparison, best)}{only}: {samples_per_s(comparison, best):.1f} samples/s."
    if firmness(comparison) != FIRM and not (ties and comparison.ranking.firm):
        return f"{called(comparison, best)} leads: {_ahead_of(comparison, best, others[0])}, the next."
    if not ties:
        return f"{called(comparison, best)} is the fastest: {_ahead_of(comparison, best, others[0])}, the next."
    names = listed([called(comparison, part) for part in (best, *others) if part is best or part.name in ties])
    behind = next((part for part in others if part.name not in ties), None)
    slower = f"; {best.name} is {_ahead_of(comparison, best, behind)}" if behind else ""
    return f"{names} are too close to tell apart{slower}."


def _ahead_of(comparison: Comparison, best: Contender, other: Contender) -> str:
    """Say by how much the fastest split is ahead of another."""
    ratio = comparison.between(best.name, other.name)
    assert ratio
    return ahead(ratio, other.name, ranged=not comparison.is_out(other.name))


def samples_per_s(comparison: Comparison, part: Contender) -> float:
    """Return the speed of a contender that came through."""
    speed = comparison.speed(part.name)
    assert speed
    return speed.median


def insight(comparison: Comparison) -> str:
    """Say why the fastest split is: its slowest stage sets the pace."""
    if not comparison.came_through:
        return ""
    best, *others = comparison.came_through
    why = f"Why: the slowest stage has {_largest_share(best.plan):.0%} of the time in {best.name}"
    return f"{why}, {_largest_share(others[-1].plan):.0%} in {others[-1].name}." if others else f"{why}."


def largest_layer(comparison: Comparison) -> str:
    """Say which layer takes most of a step, for counting layers takes all for alike; nothing without times."""
    costs = {layer.name: layer.step_s for layer in comparison.layers}
    whole = sum(costs.values())
    if not whole:
        return ""
    largest = max(costs, key=costs.__getitem__)
    return f"The costliest of {counted(len(costs), 'layer')}, {largest}, takes {costs[largest] / whole:.0%} of a step."


def _largest_share(plan: Plan) -> float:
    """Return the share of a step that the slowest stage has."""
    times = [stage.total_s for stage in plan.stages]
    return max(times) / (sum(times) or 1.0)


PAYS, DOES_NOT, OPEN = "It pays to split", "It does not pay to split", "Whether it pays to split is open"


def worth(comparison: Comparison) -> str:
    """Say whether to split at all: how the fastest split fared against one core and plain PyTorch."""
    pays = _pays(comparison)
    if not pays or too_loud(comparison) or not comparison.comparable:
        return ""
    told = " and ".join(ahead(ratio, own.name) for own, ratio in _against_unsplit(comparison))
    stages, cores = comparison.request.num_stages, comparison.core_count
    where = fewer = ""
    if stages > cores:
        where = f" on {stages} cores"
        fewer = ", which has no more here" if comparison.plain and comparison.plain.by_round else ""
    return f"{pays}{where}: {comparison.came_through[0].name} is {told}{fewer}."


def advice(comparison: Comparison, training: str) -> str:
    """Say what to do: train with the fastest split, or not to split; nothing where that is not known.

    Args:
        comparison: What is known.
        training: The command that trains with the fastest split.
    """
    if too_loud(comparison) or not comparison.came_through:
        return ""
    ratios = _against_unsplit(comparison)
    unsplit, nearest = min(ratios, key=lambda pair: pair[1].median, default=(None, None))
    if unsplit and _pays(comparison) == DOES_NOT:
        return f"Do not split: train with {unsplit.name}, torch.set_num_threads({unsplit.threads})."
    if nearest and nearest.median < 1:
        return ""
    told = ["Until then"] if firmness(comparison) != FIRM else []
    told += [f"with {counted(comparison.request.num_stages, 'core')}"] if comparison.clock != "wall" else []
    lead = ", ".join([*told, f"train with {comparison.came_through[0].name}:"])
    return shell_lines(f"{lead[0].upper()}{lead[1:]}", training)


def _pays(comparison: Comparison) -> str:
    """Return whether it pays to split, in words; nothing where nothing ran unsplit, or of one stage."""
    ratios = sorted((ratio for _, ratio in _against_unsplit(comparison)), key=lambda ratio: ratio.median)
    if not ratios:
        return ""
    if all(map(apart, ratios)):
        return PAYS
    return DOES_NOT if decided(ratios[0]) and not apart(ratios[0]) else OPEN


def _against_unsplit(comparison: Comparison) -> list[tuple[Contender, Estimate]]:
    """Return how many times as fast the fastest split is as each that ran unsplit; none of one stage."""
    if not comparison.came_through or comparison.request.num_stages == 1:
        return []
    best = comparison.came_through[0].name
    return [(own, ratio) for own in comparison.unsplit if (ratio := comparison.between(best, own.name))]


def fairness(comparison: Comparison) -> str:
    """Say of plain PyTorch how fair it is to compare with it, with a blank before."""
    if not comparison.plain:
        return ""
    precision = comparison.whole_precision
    lower = "" if precision == FP32 else f" under autocast, in {precision},"
    return f" Plain PyTorch runs{lower} on synthetic data, with as many samples an update, on the cores that there are."


def not_these_cores(comparison: Comparison) -> str:
    """Say that splits were worked out for more cores than there are, where it is so."""
    cores = None if comparison.clock == "wall" else comparison.core_count
    return optimizer.report.not_these_cores(comparison.request.num_stages, cores, "measures it")


def clock(comparison: Comparison) -> str:
    """Say what the clock tells where it is not the one on the wall."""
    if comparison.clock == "wall":
        return ""
    return taking_turns(comparison.request.num_stages, comparison.core_count)


def race(comparison: Comparison) -> str:
    """Say who has had its runs before the last round."""
    out: dict[int, list[str]] = {}
    for name, last in comparison.dropped.items():
        if last < comparison.rounds:
            out.setdefault(last, []).append(name)
    told = "; ".join(f"after round {last}, {listed(names)}" for last, names in sorted(out.items()))
    return f"Out of the race, for they cannot be the fastest: {told}. --full runs all of them." if told else ""


def length_of_run(comparison: Comparison) -> str:
    """Return how long a run is."""
    minibatches = comparison.request.minibatches
    return counted(minibatches, "minibatch") if minibatches else "a second or two"


def memory(comparison: Comparison) -> str:
    """Say what the largest stage of the fastest split took."""
    best = next(iter(comparison.came_through), None)
    stages = best.stages if best else ()
    peaks = [(stage.measured.peak_rss_bytes, number) for number, stage in enumerate(stages)]
    measured = [(peak, number) for peak, number in peaks if peak is not None]
    if not best or not measured:
        return ""
    peak, number = max(measured)
    planned = stages[number].predicted_memory_bytes
    return f"Memory: the largest stage, {number} of {best.name}, took {mib(peak)} MiB ({mib(planned)} predicted)."


def ahead(ratio: Estimate, other: str, *, ranged: bool = True) -> str:
    """Say what a ratio of speeds means: ``22% faster than x (7 to 37%)``, ``2.1 times as fast as x (1.9 to 2.3)``.

    Args:
        ratio: How many times as fast one is as the other.
        other: The other's name.
        ranged: Whether to say between what the ratio lies.
    """
    shown = round(ratio.median, 2)  # as the tables have it
    ends = sorted(100 * (end - 1) * (1 if shown >= 1 else -1) for end in (ratio.low, ratio.high))
    between = f"{ends[0]:.0f} to {ends[1]:.0f}%"
    if shown >= TIMES:
        said, between = f"{shown:.1f} times as fast as", f"{ratio.low:.1f} to {ratio.high:.1f}"
    elif shown == 1:
        said = "as fast as"
    else:
        said = f"{abs(shown - 1):.0%} {'faster' if shown > 1 else 'slower'} than"
    return f"{said} {other} ({between})" if ranged else f"{said} {other}"


def listed(names: Sequence[str]) -> str:
    """Return names as ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
