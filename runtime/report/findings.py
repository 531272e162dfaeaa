"""Say in a few sentences what a comparison shows: who is fastest and by how much, why, and what it is worth."""

from collections.abc import Sequence

from optimizer.plan import Plan
from profiler.profile import FP32
from profiler.report import counted, mib
from runtime.compare import ONE_CORE, Comparison, Contender, Spread, coverage, tied
from runtime.pipeline import taking_turns
from runtime.report.warnings import COVERAGE_WANTED, undecided

SPACED = "spaced-"
TIMES = 2.0
"""From this ratio on, speeds are told as times, not as per cent."""


def title(comparison: Comparison) -> str:
    """Return what was compared, in a few words."""
    asked = comparison.request
    return f"{asked.model}, batch {asked.batch_size}, {counted(asked.num_stages, 'stage')}"


def rivals(comparison: Comparison) -> list[Contender]:
    """Return the partitions that the optimized one is compared with: the schemes, and whatever else has a name."""
    named = [part for part in comparison.partitions if part.name != comparison.reference]
    return [part for part in named if not part.name.startswith(SPACED)] or named


def own_splits(comparison: Comparison) -> list[Contender]:
    """Return the partitions that ran themselves."""
    return [part for part in comparison.partitions if part.same_as is None]


def called(comparison: Comparison, part: Contender) -> str:
    """Return a split's names: its own, and those of the partitions that have the same split."""
    return " = ".join([part.name, *(other.name for other in comparison.partitions if other.same_as == part.name)])


def answer(comparison: Comparison) -> str:
    """Say which split is the fastest, and by how much, as the ranks have it."""
    splits = comparison.came_through
    if not splits:
        return "No split came through."
    best, *others = splits
    if not others:
        only = "" if len(comparison.standing) > 1 else ", the only split"
        return f"{called(comparison, best)}{only}: {samples_per_s(best):.1f} samples/s."
    first, ranks = comparison.rank(best.name), {part.name: comparison.rank(part.name) for part in others}
    ties = [part for part in others if ranks[part.name] == first is not None]
    slower = [part for part in others if ranks[part.name] != first is not None and ranks[part.name] is not None]
    names = listed([called(comparison, part) for part in (best, *ties)])
    if first is None:
        said = f"{names} ran fastest{'' if comparison.rounds < 2 else ', but noise leaves its place open'}"
        return f"{said}: {_ahead_of(comparison, best, others)}."
    single = f"{names} leads" if undecided(comparison) else f"{names} is the fastest"
    said = f"{names} are too close to tell apart" if ties else single
    who = f"; {best.name} is " if ties else ": "
    return f"{said}{f'{who}{_ahead_of(comparison, best, slower)}, the next' if slower else ''}."


def _ahead_of(comparison: Comparison, best: Contender, slower: Sequence[Contender]) -> str:
    """Say by how much the fastest split is ahead of the first of those behind it, if they share a round."""
    ratio = comparison.between(best.name, slower[0].name)
    return ahead(ratio, slower[0].name) if ratio else f"ahead of {slower[0].name}"


def samples_per_s(part: Contender) -> float:
    """Return the median throughput of a split that came through."""
    assert part.throughput_samples_per_s
    return part.throughput_samples_per_s.median


def in_order(comparison: Comparison, parts: Sequence[Contender]) -> list[Contender]:
    """Return one partition of each split, fastest first; of several, the one that ran, if it is among them."""
    first: dict[str, Contender] = {}
    for part in parts:
        first.setdefault(part.ran_as, part)
    return [first[part.name] for part in comparison.standing if part.name in first]


def insight(comparison: Comparison) -> str:
    """Say why a split is fast: its slowest stage sets the pace."""
    ours = f"Why: the slowest stage has {_largest_share(comparison.ours.plan):.0%} of the time in "
    ours += comparison.reference
    slow = min(rivals(comparison), key=lambda part: part.predicted_throughput_samples_per_s, default=None)
    if slow is None or slow.ran_as == comparison.ours.ran_as:
        return f"{ours}."
    return f"{ours}, {_largest_share(slow.plan):.0%} in {slow.name}."


def largest_layer(comparison: Comparison) -> str:
    """Say which layer is the costliest, for counting layers takes all for alike."""
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


def worth(comparison: Comparison) -> str:
    """Say whether to pipeline at all: how the fastest split fared against one core and the baselines."""
    splits = comparison.came_through
    if not splits or not comparison.comparable or comparison.request.num_stages == 1:
        return ""
    best = splits[0]
    alone = comparison.between(best.name, ONE_CORE)
    if alone is None:
        return ""
    rows = [
        (ratio, baseline.name)
        for baseline in comparison.baselines
        if (ratio := comparison.between(best.name, baseline.name)) is not None
    ]
    sentence = f"{_pays([alone, *(ratio for ratio, _ in rows)])}: {best.name} {_is(alone, 'one core')}"
    if rows:
        sentence += f", and {_is(*min(rows, key=lambda row: row[0].median))}, the fastest of what else there is"
    return f"{sentence}."


def _pays(ratios: Sequence[Spread]) -> str:
    """Say whether it pays to pipeline, by how many times as fast the best split ran as each alternative."""
    nearest = min(ratios, key=lambda ratio: ratio.median)
    if len(nearest.runs) == 1:
        return "One round cannot tell whether it pays to pipeline"
    pays = "It is as fast" if tied(nearest) else "It pays" if nearest.median > 1 else "It does not pay"
    return f"{pays} to pipeline"


def fairness(comparison: Comparison) -> str:
    """Say of the baselines how fair it is to compare their throughput, with a blank before."""
    if not comparison.baselines:
        return ""
    precision = comparison.whole_precision
    lower = "" if precision == FP32 else f" Baselines run under autocast, in {precision}."
    return f" Baselines take as many samples an update.{lower}"


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


def held(comparison: Comparison) -> str:
    """Say what an interval is worth after so many rounds."""
    spreads = [part.throughput_samples_per_s for part in comparison.came_through]
    rounds = max((len(spread.runs) for spread in spreads if spread), default=comparison.rounds)
    at_best = "" if coverage(rounds) >= COVERAGE_WANTED else " at best"
    return f"hold the true median with {min(COVERAGE_WANTED, coverage(rounds)):.0%}{at_best}"


def length_of_run(comparison: Comparison) -> str:
    """Return how long a run is."""
    minibatches = comparison.request.minibatches
    return counted(minibatches, "minibatch") if minibatches else "a few seconds"


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


def ahead(ratio: Spread, other: str) -> str:
    """Say what a ratio of speeds means: ``22% faster than x (range 7–37%)``, ``2.1 times as fast as x``."""
    if ratio.median >= TIMES:
        return f"{ratio.median:.1f} times as fast as {other}{_range(ratio, f'{ratio.low:.1f}–{ratio.high:.1f}')}"
    ends = [100 * (end - 1) * (1 if ratio.median >= 1 else -1) for end in (ratio.low, ratio.high)]
    interval = f"{min(ends):.0f}–{max(ends):.0f}%" if min(ends) >= 0 else f"{min(ends):.0f} to {max(ends):.0f}%"
    way = "faster" if ratio.median >= 1 else "slower"
    return f"{abs(ratio.median - 1):.0%} {way} than {other}{_range(ratio, interval)}"


def _range(ratio: Spread, interval: str) -> str:
    return f" (range {interval})" if len(ratio.runs) > 1 else ", in one round"


def _is(ratio: Spread, other: str) -> str:
    return f"ties with {other}" if tied(ratio) else f"is {ahead(ratio, other)}"


def listed(names: Sequence[str]) -> str:
    """Return names as ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
