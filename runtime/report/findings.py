"""Say in a few sentences what a comparison shows: who won and by how much, why, and whether the planner knew."""

from collections.abc import Sequence

from optimizer.plan import Plan
from optimizer.planning import OPTIMIZED
from profiler.profile import FP32
from profiler.report import counted, mib
from runtime.compare import BaselineComparison, Comparison, PartitionComparison, Spread, tied
from runtime.pipeline import taking_turns
from runtime.report.warnings import comparison_warnings

SPACED = "spaced-"
TIMES = 2.0
"""From this ratio on, speeds are told as times, not as per cent."""


def verdict(comparison: Comparison) -> list[str]:
    """Return the lines that say it all: speed, its worth, why, the promise, memory, the clock, and all doubts."""
    doubts = comparison_warnings(comparison) or ["Nothing casts doubt on these figures."]
    lines = [
        speed(comparison),
        worth(comparison),
        insight(comparison),
        comparison.forms,
        comparison.audit.verdict,
        memory(comparison),
        clock(comparison),
        " ".join(comparison.left_out),
        " ".join(doubts),
    ]
    return [line for line in lines if line]


def title(comparison: Comparison) -> str:
    """Return what was compared, in a few words."""
    asked = comparison.request
    return f"{asked.model}, batch {asked.batch_size}, {counted(asked.num_stages, 'stage')}"


def rivals(comparison: Comparison) -> list[PartitionComparison]:
    """Return the partitions that the optimized one is compared with: the schemes, and whatever else has a name."""
    named = [part for part in comparison.partitions if part.name != comparison.reference]
    return [part for part in named if not part.name.startswith(SPACED)] or named


def own_splits(comparison: Comparison) -> list[PartitionComparison]:
    """Return the partitions that ran themselves."""
    return [part for part in comparison.partitions if part.same_as is None]


def called(comparison: Comparison, part: PartitionComparison) -> str:
    """Return a split's names: its own, and those of the partitions that have the same split."""
    return " = ".join([part.name, *(other.name for other in comparison.partitions if other.same_as == part.name)])


def speed(comparison: Comparison) -> str:
    """Say how many times as fast the reference ran as the fastest and the slowest of the others."""
    about, ours = title(comparison), comparison.reference
    if not comparison.comparable:
        about += ", on shared cores"
    part = comparison.ours
    others = rivals(comparison)
    if not others:
        return f"{about}: {_alone(part)}."
    if all(part.same_as is not None for part in others) and part.same_as is None:
        return f"{about}: all partitions are the same split."
    ran = [part for part in others if part.throughput_samples_per_s and part.ratio]
    if not ran or not part.throughput_samples_per_s:
        return f"{about}: too few runs came through to compare {ours} with anything."
    # Of partitions that are the same split, the one that ran is named.
    best = min(ran, key=lambda part: (part.ratio.median if part.ratio else 0.0, part.same_as is not None))
    worst = max(ran, key=lambda part: (part.ratio.median if part.ratio else 0.0, part.same_as is None))
    word = "scheme" if ours == OPTIMIZED else "of the others"
    if best.name == worst.name:
        return f"{about}: {_against(ours, best, best.name)}.{_faster_still(comparison)}"
    sentence = f"{about}: {_against(ours, best, f'the fastest {word}, {best.name}')}"
    slowest = f"{_ahead(worst.ratio, f'the slowest, {worst.name}')}"
    return f"{sentence}; it was {slowest}.{_faster_still(comparison)}"


def insight(comparison: Comparison) -> str:
    """Say why counting layers misleads for this model."""
    costs = {layer.name: layer.step_s for layer in comparison.layers}
    whole = sum(costs.values())
    if not whole:
        return ""
    largest = max(costs, key=costs.__getitem__)
    sentence = f"Why: {largest}, one of {counted(len(costs), 'layer')}, takes {costs[largest] / whole:.0%} of a step"
    slow = min(rivals(comparison), key=lambda part: part.predicted_throughput_samples_per_s, default=None)
    if slow is None or slow.same_as == comparison.reference:
        return f"{sentence}."
    heaviest = max(slow.plan.stages, key=lambda stage: stage.total_s)
    number = slow.plan.stages.index(heaviest)
    share, most = _largest_share(slow.plan), _largest_share(comparison.ours.plan)
    return (
        f"{sentence}; stage {number} of {slow.name} has {len(heaviest.layers) / len(costs):.0%} of the layers and "
        f"{share:.0%} of the time, and no stage of {comparison.reference} has more than {most:.0%} of it."
    )


def _largest_share(plan: Plan) -> float:
    """Return the share of a step that the slowest stage has."""
    times = [stage.total_s for stage in plan.stages]
    return max(times) / sum(times)


def worth(comparison: Comparison) -> str:
    """Say whether to pipeline at all: how the reference fared against one core and what a user would run instead.

    It is held against what updates as often, if anything does; the fastest of all else is named beside.
    """
    ours, alone, stages = comparison.reference, comparison.one_core.ratio, comparison.request.num_stages
    if alone is None or not comparison.comparable or stages == 1:
        return ""
    beside = f"{ours}, {counted(stages, 'stage')}, was {_ahead(alone, 'the plain step on one core')}"
    rows = [(baseline.ratio, baseline) for baseline in comparison.baselines if baseline.ratio]
    like = [row for row in rows if row[1].update_every == comparison.request.update_every]
    unlike = [row for row in rows if row not in like]
    nearest = min([alone, *(ratio for ratio, _ in like or rows)], key=lambda ratio: ratio.median)
    pays = "It is as fast" if tied(nearest) else "It pays" if nearest.median > 1 else "It does not pay"
    sentence = f"{pays} to pipeline: {beside}"
    if like:
        said = ", the fastest of what else updates as often" if unlike else ", the fastest of what else there is"
        sentence += f", and {_ahead_of(like)}{said}"
    if unlike:
        otherwise = "Of what updates less or more often, it was" if like else "Nothing else updates as often; it was"
        sentence += f". {otherwise} {_ahead_of(unlike)}, the fastest"
    return f"{sentence}."


def fairness(comparison: Comparison) -> str:
    """Say of the baselines how fair it is to compare their throughput, with a blank before."""
    if not comparison.baselines:
        return ""
    precision = comparison.one_core.precision
    lower = "" if precision == FP32 else f" Baselines run under autocast, in {precision}."
    if all(baseline.update_every == comparison.request.update_every for baseline in comparison.baselines):
        return f" Baselines take as many samples an update.{lower}"
    unfair = "there throughput alone is not a fair comparison."
    return f" Baselines update less or more often where they say so: {unfair}{lower}"


def _ahead_of(rows: Sequence[tuple[Spread, BaselineComparison]]) -> str:
    """Say how the reference fared against the fastest of some baselines."""
    ratio, baseline = min(rows, key=lambda row: row[0].median)
    return f"{_ahead(ratio, baseline.row)} ({baseline.semantics})"


def clock(comparison: Comparison) -> str:
    """Say what the clock tells where it is not the one on the wall."""
    if comparison.clock == "wall":
        return ""
    return taking_turns(comparison.request.num_stages, comparison.core_count)


def memory(comparison: Comparison) -> str:
    """Say what the reference's largest stage took."""
    part = comparison.ours
    peaks = [(stage.measured.peak_rss_bytes, number) for number, stage in enumerate(part.stages)]
    measured = [(peak, number) for peak, number in peaks if peak is not None]
    if not measured:
        return ""
    peak, number = max(measured)
    planned = part.stages[number].predicted_memory_bytes
    return (
        f"Memory: the largest stage of {part.name}, stage {number}, peaked at {mib(peak)} MiB, "
        f"{peak / planned - 1:+.0%} against the {mib(planned)} MiB that were predicted."
    )


def _alone(part: PartitionComparison) -> str:
    if part.throughput_samples_per_s is None:
        return f"{part.name} did not come through"
    return f"{part.name} ran at {part.throughput_samples_per_s.median:.1f} samples/s"


def _against(ours: str, best: PartitionComparison, called: str) -> str:
    ratio = best.ratio
    assert ratio is not None
    if best.same_as == ours:
        return f"{ours} is the same split as {called}"
    if tied(ratio):
        return f"{ours} ties with {called} ({_ahead(ratio, 'it')})"
    return f"{ours} was {_ahead(ratio, called)}"


def _faster_still(comparison: Comparison) -> str:
    """Say which evenly spaced split was faster than the reference, beyond noise, if one was."""
    faster = [
        part
        for part in comparison.partitions
        if part.name.startswith(SPACED) and part.ratio and len(part.ratio.runs) > 1 and part.ratio.high < 1
    ]
    if not faster:
        return ""
    best = min(faster, key=lambda part: part.ratio.median if part.ratio else 1.0)
    ours = comparison.reference
    return f" {best.name}, which nobody proposed, was faster still: {ours} was {_ahead(best.ratio, 'it')}."


def _ahead(ratio: Spread | None, other: str) -> str:
    """Say what a ratio of speeds means: ``22% faster than x (95% interval 7–37%)``, or ``2.1 times as fast as x``."""
    assert ratio is not None
    several = len(ratio.runs) > 1
    if ratio.median >= TIMES:
        return f"{ratio.median:.1f} times as fast as {other}" + (
            f" (95% interval {ratio.low:.1f}–{ratio.high:.1f})" if several else ""
        )
    faster = ratio.median >= 1
    ends = [100 * (end - 1) * (1 if faster else -1) for end in (ratio.low, ratio.high)]
    interval = f" (95% interval {min(ends):.0f}–{max(ends):.0f}%)".replace("-", "−") if several else ""
    return f"{abs(ratio.median - 1):.0%} {'faster' if faster else 'slower'} than {other}{interval}"
