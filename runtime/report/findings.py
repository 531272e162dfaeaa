"""Say in a few sentences what a comparison shows: who won and by how much, why, and whether the planner knew."""

from collections.abc import Sequence

from optimizer.plan import Plan
from optimizer.planning import OPTIMIZED
from profiler.profile import FP32
from profiler.report import counted, mib
from runtime.baselines import Baseline
from runtime.compare import Comparison, PartitionComparison, Spread, tied
from runtime.pipeline import taking_turns
from runtime.report.warnings import comparison_warnings, mark

SPACED = "spaced-"
TIMES = 2.0
"""From this ratio on, speeds are told as times, not as per cent."""
IN_ONE_ROUND = ", in one round"


def verdict(comparison: Comparison) -> list[str]:
    """Return the lines that say it all: speed, its worth, why, the promise, memory, the clock, and all doubts."""
    doubts = comparison_warnings(comparison) or ["Nothing casts doubt on these figures."]
    lines = [
        speed(comparison),
        worth(comparison),
        insight(comparison),
        comparison.forms,
        comparison.summary.audit.verdict,
        race(comparison),
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
    named = [part for part in comparison.summary.partitions if part.name != comparison.reference]
    return [part for part in named if not part.name.startswith(SPACED)] or named


def own_splits(comparison: Comparison) -> list[PartitionComparison]:
    """Return the partitions that ran themselves."""
    return [part for part in comparison.summary.partitions if part.same_as is None]


def called(comparison: Comparison, part: PartitionComparison) -> str:
    """Return a split's names: its own, and those of the partitions that have the same split."""
    return " = ".join(
        [part.name, *(other.name for other in comparison.summary.partitions if other.same_as == part.name)]
    )


def speed(comparison: Comparison) -> str:
    """Say how the reference fared against the fastest and the slowest of the others, as their ranks have it."""
    about = f"{title(comparison)}{mark(comparison) if comparison.comparable else ', on shared cores'}"
    part = comparison.summary.ours
    others = rivals(comparison)
    if not others:
        return f"{about}: {_alone(part)}."
    if all(other.ran_as == part.ran_as for other in others):
        return f"{about}: all partitions are the same split."
    ran = [other for other in in_order(comparison, others) if other.ratio]
    ran = [other for other in ran if other.rank is not None] or ran
    if not ran:
        return f"{about}: too few runs came through to compare {comparison.reference} with anything."
    return f"{about}: {comparison.reference} {_against(comparison, ran)}.{_faster_still(comparison)}"


def in_order(comparison: Comparison, parts: Sequence[PartitionComparison]) -> list[PartitionComparison]:
    """Return one partition of each split, fastest first; of several, the one that ran, if it is among them."""
    first: dict[str, PartitionComparison] = {}
    for part in parts:
        first.setdefault(part.ran_as, part)
    return [first[name] for name in comparison.summary.order if name in first]


def _against(comparison: Comparison, ran: Sequence[PartitionComparison]) -> str:
    """Say how the reference fared against the first and the last of some partitions, which are in order."""
    best, worst = ran[0], ran[-1]
    if best is worst or (best.rank is not None and best.rank == worst.rank):
        return _fared(comparison, best, best.name, ran)
    word = "scheme" if comparison.reference == OPTIMIZED else "of the others"
    spaced = any(part.name.startswith(SPACED) for part in comparison.summary.partitions)
    unranked = best.rank is not None and any(part.rank is None for part in rivals(comparison))
    word += f"{' asked for' if spaced else ''}{' that has a rank' if unranked else ''}"
    fastest = _fared(comparison, best, f"the fastest {word}, {best.name}", ran)
    slowest = f"the slowest{' of these' if spaced or unranked else ''}, {worst.name}"
    return f"{fastest}; it {_fared(comparison, worst, slowest, ran)}"


def _fared(comparison: Comparison, part: PartitionComparison, called: str, ran: Sequence[PartitionComparison]) -> str:
    """Say how the reference fared against a partition, and which of the others share its rank."""
    ours = comparison.summary.ours.ran_as
    fared = f"is the same split as {called}" if part.ran_as == ours else _ahead(part.ratio, called)
    tying = [other.name for other in ran if other is not part and other.rank == part.rank is not None]
    return f"{fared}, with which {listed(tying)} {'ties' if len(tying) == 1 else 'tie'}" if tying else fared


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
    share, most = _largest_share(slow.plan), _largest_share(comparison.summary.ours.plan)
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
    ours, alone, stages = comparison.reference, comparison.summary.one_core.ratio, comparison.request.num_stages
    if alone is None or not comparison.comparable or stages == 1:
        return ""
    beside = f"{ours}, {counted(stages, 'stage')}, {_ahead(alone, 'the plain step on one core')}"
    rows = [(own.ratio, own.baseline) for own in comparison.summary.baselines if own.ratio]
    like = [row for row in rows if row[1].update_every == comparison.request.update_every]
    unlike = [row for row in rows if row not in like]
    sentence = f"{_pays([alone, *(ratio for ratio, _ in like or rows)])}: {beside}"
    if like:
        said = ", the fastest of what else updates as often" if unlike else ", the fastest of what else there is"
        sentence += f", and {_ahead_of(like)}{said}"
    if unlike:
        otherwise = "Of what updates less or more often, it" if like else "Nothing else updates as often; it"
        sentence += f". {otherwise} {_ahead_of(unlike)}, the fastest"
    return f"{sentence}."


def _pays(ratios: Sequence[Spread]) -> str:
    """Say whether it pays to pipeline, by how many times as fast the reference ran as each alternative."""
    nearest = min(ratios, key=lambda ratio: ratio.median)
    if len(nearest.runs) == 1:
        return "One round cannot tell whether it pays to pipeline"
    pays = "It is as fast" if tied(nearest) else "It pays" if nearest.median > 1 else "It does not pay"
    return f"{pays} to pipeline"


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


def _ahead_of(rows: Sequence[tuple[Spread, Baseline]]) -> str:
    """Say how the reference fared against the fastest of some baselines."""
    ratio, baseline = min(rows, key=lambda row: row[0].median)
    return f"{_ahead(ratio, baseline.row)} ({baseline.semantics})"


def clock(comparison: Comparison) -> str:
    """Say what the clock tells where it is not the one on the wall."""
    if comparison.clock == "wall":
        return ""
    return taking_turns(comparison.request.num_stages, comparison.core_count)


def race(comparison: Comparison) -> str:
    """Say who has had its runs before the last round."""
    out: dict[int, list[str]] = {}
    rounds, dropped = comparison.race
    for name, last in dropped.items():
        if last < rounds:
            out.setdefault(last, []).append(name)
    told = "; ".join(f"after round {last}, {listed(names)}" for last, names in sorted(out.items()))
    return f"Out of the race, as slower than the fastest beyond doubt: {told}. --full runs all of them." if told else ""


def length_of_run(comparison: Comparison) -> str:
    """Return how long a run is."""
    minibatches = comparison.request.minibatches
    return counted(minibatches, "minibatch") if minibatches else "a few seconds"


def memory(comparison: Comparison) -> str:
    """Say what the reference's largest stage took."""
    part = comparison.summary.ours
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


def _faster_still(comparison: Comparison) -> str:
    """Say which evenly spaced split was faster than the reference, beyond noise, if one was."""
    best = next(
        (part for part in comparison.summary.standing if part.name.startswith(SPACED) and part.rank is not None), None
    )
    if best is None or best.ratio is None or best.ratio.high >= 1:
        return ""
    ours = comparison.reference
    return f" {best.name}, which nobody proposed, was faster still: {ours} {_ahead(best.ratio, 'it')}."


def _ahead(ratio: Spread | None, other: str) -> str:
    """Say what a ratio of speeds means: ``ties with x``, ``was 22% faster than x (95% interval 7–37%)``."""
    assert ratio is not None
    if tied(ratio):
        return f"ties with {other}"
    several = len(ratio.runs) > 1
    if ratio.median >= TIMES:
        return f"was {ratio.median:.1f} times as fast as {other}" + (
            f" (95% interval {ratio.low:.1f}–{ratio.high:.1f})" if several else IN_ONE_ROUND
        )
    ends = sorted(abs(100 * (end - 1)) for end in (ratio.low, ratio.high))
    interval = f" (95% interval {ends[0]:.0f}–{ends[1]:.0f}%)" if several else IN_ONE_ROUND
    return f"was {abs(ratio.median - 1):.0%} {'faster' if ratio.median >= 1 else 'slower'} than {other}{interval}"


def listed(names: Sequence[str]) -> str:
    """Return names as ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
