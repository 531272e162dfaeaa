"""Say what casts doubt on a comparison: the one closed list of its warnings.

Each says first what it means for the figures, then the cause, then the remedy.
"""

from collections import defaultdict
from statistics import median

from profiler.rounds import drift
from runtime.compare import Comparison, coverage
from runtime.pipeline import noisy, sharing

DRIFT_LIMIT = 0.03
COVERAGE_WANTED = 0.9
MARKED = ("NOT COMPARABLE", "NOISY")
"""The doubts that stand beside every figure of a comparison, wherever it is shown."""


def comparison_warnings(comparison: Comparison) -> list[str]:
    """Return the warnings that a comparison deserves, as sentences; none for a good one."""
    warnings = []
    if not comparison.comparable:
        warnings.append(sharing(comparison.request.num_stages, comparison.core_count))
    failed = [run for run in comparison.runs if run.failure is not None]
    if failed:
        names = ", ".join(dict.fromkeys(run.name for run in failed))
        runs = "a run" if len(failed) == 1 else f"{len(failed)} runs"
        warnings.append(
            f"FAILED: figures of {names} are of fewer rounds, or there are none: {runs} failed, first "
            f"{failed[0].name} in round {failed[0].round}: {failed[0].failure}"
        )
    if not comparison.complete:
        done = f"{comparison.rounds} of {comparison.request.repeats} rounds are done"
        warnings.append(f"PROVISIONAL: medians may still move, for {done}; the same command goes on.")
    warnings += _noise(comparison)
    warnings += _few_rounds(comparison)
    return [*warnings, *(f"PROFILE: {warning}" for warning in comparison.profile_warnings)]


def doubts(comparison: Comparison) -> list[str]:
    """Return the names of the warnings that a comparison deserves."""
    return list(dict.fromkeys(warning.partition(":")[0] for warning in comparison_warnings(comparison)))


def mark(comparison: Comparison) -> str:
    """Return what has to stand beside a comparison's figures, in brackets with a blank before."""
    marked = [name for name in doubts(comparison) if name in MARKED]
    return f" ({', '.join(marked)})" if marked else ""


def _few_rounds(comparison: Comparison) -> list[str]:
    """Return the warning that ranks and intervals rest on too few rounds, by the pairs of rounds they are made of."""
    early = comparison.dropped  # which more rounds would not help
    racing = [part for part in comparison.summary.partitions if part.ran_as not in early]
    pairs = [(len(part.ratio.runs), part.rank) for part in racing if part.ratio]
    if max((rounds for rounds, _ in pairs), default=comparison.rounds) == 1:
        return ["ONE ROUND: no difference here can be told from noise, for it ran once; add --repeats 5."]
    fewest = min((rounds for rounds, rank in pairs if rank is not None), default=comparison.rounds)
    if not 0 < coverage(fewest) < COVERAGE_WANTED:
        return []
    means = f"intervals hold the true median with {coverage(fewest):.0%} at best, not 95%"
    return [f"FEW ROUNDS: {means}, for {fewest} runs are too few; add --repeats 6."]


def drift_of(comparison: Comparison) -> float:
    """Return by how much the last third of the rounds was slower than the first, as a share, over all contenders."""
    by_round: dict[int, list[float]] = defaultdict(list)
    dropped = comparison.dropped
    for name in (name for name in comparison.contenders if name not in dropped):
        runs = [run for run in comparison.runs if run.name == name and run.failure is None]
        usual = median(run.throughput_samples_per_s for run in runs) if runs else 0.0
        for run in runs:
            by_round[run.round].append(usual / run.throughput_samples_per_s)
    return drift([median(slowness) for _, slowness in sorted(by_round.items())])


def _noise(comparison: Comparison) -> list[str]:
    warnings = []
    loads = [
        (stage.measured.foreign_load, core)
        for part in comparison.summary.partitions
        for stage, core in zip(part.stages, comparison.request.cores, strict=False)
    ]
    load, core = max([*loads, (comparison.summary.one_core.foreign_load, comparison.request.cores[0])])
    if comparison.comparable and (doubt := noisy(core, load)):
        warnings.append(doubt)
    drifted = drift_of(comparison)
    if abs(drifted) > DRIFT_LIMIT:
        warnings.append(
            f"DRIFT: trust ratios, which are taken within rounds, before medians: the last rounds were "
            f"{abs(drifted):.0%} {'slower' if drifted > 0 else 'faster'} than the first; let the machine settle and "
            "compare again."
        )
    return warnings
