"""Hold what was promised against what happened: how far off each split's prediction was.

What a second is worth changes by the minute and is nobody's error: it is what all splits of that time have in common.
So a run's pace is a median over splits, itself and the four that ran nearest to it: of what the stage that took longest
took, over what it is expected to. What one split alone takes longer is outvoted there, and stays its error. Where one
split ran, there is no pace to tell. With a split's period = batch size ÷ throughput, run by run,

    settled period   median over its runs of period ÷ pace
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median

from optimizer.plan import Plan
from runtime.compare.contender import Contender, RunRecord

ORDERED = 0.9
PACE_SAID = 0.02
FEWEST_PAIRS = 3
"""Pairs that a rank correlation takes."""
VOTES, WITHIN = 5, 100
"""So many splits tell the pace in a run, each with the run of it that is nearest, of so many on either side."""
Paces = Mapping[tuple[str, int], float]
"""The machine's pace, by split and round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitAudit:
    """How far off the prediction of one split was.

    Attributes:
        error: Predicted ÷ measured throughput − 1; above 0 it promised too much.
        settled_error: The same, had the machine been as fast in each run as when the model was profiled.
        predicted_s: Seconds a minibatch in the steady state; likewise ``settled_s``.
    """

    partition: str
    error: float
    settled_error: float
    predicted_s: float
    settled_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Prediction against measurement over the distinct splits that ran.

    Attributes:
        mean_absolute_error: Of the throughput, as a share; None where stages shared cores on the wall clock or nothing
            ran. Likewise ``mean_absolute_error_settled``, with the machine's pace taken out.
        spearman: Rank correlation of predicted and settled throughput; None for fewer than three splits, too.
        pace: How many times as slow the machine was as when the model was profiled, the median over the runs; None
            where a single split ran.
        verdict: How well promises were kept, in words.
    """

    mean_absolute_error: float | None
    mean_absolute_error_settled: float | None
    spearman: float | None
    pace: float | None
    splits: tuple[SplitAudit, ...]
    verdict: str


def audit(
    partitions: Sequence[Contender],
    batch_size: int,
    runs: Sequence[RunRecord],
    *,
    comparable: bool,
) -> Audit:
    """Return the audit of all splits that ran.

    Args:
        partitions: Those with ``same_as`` are left out, for a split counts once.
        batch_size: Samples per minibatch.
        runs: Of all contenders, in the order in which they ran.
        comparable: As in ``Comparison``; if not, there is nothing to audit.
    """
    ran = [part for part in partitions if part.same_as is None and part.by_round]
    if not comparable or not ran:
        why = "no split ran" if comparable else "they do not cover shared cores"
        return Audit(
            mean_absolute_error=None, mean_absolute_error_settled=None, spearman=None, pace=None, splits=(),
            verdict=f"Predictions not checked: {why}.",
        )  # fmt: skip
    paces = _paces(partitions, runs)
    splits = tuple(_split(part, batch_size, runs, paces) for part in ran)
    order = spearman(
        [part.predicted_throughput_samples_per_s for part in ran],
        [batch_size / split.settled_s for split in splits],
    )
    pace = median(paces.values()) if len(ran) > 1 else None
    return Audit(
        mean_absolute_error=mean(abs(split.error) for split in splits),
        mean_absolute_error_settled=mean(abs(split.settled_error) for split in splits),
        spearman=order,
        pace=pace,
        splits=splits,
        verdict=_verdict(splits, order, pace),
    )


def _paces(partitions: Sequence[Contender], runs: Sequence[RunRecord]) -> Paces:
    """Return how many times as slow the machine was in each run of a split as when the model was profiled."""
    plans = {part.name: part.plan for part in partitions}
    own = {
        (run.name, run.round): _longest(run, plans[run.name])
        for run in runs
        if run.name in plans and run.failure is None
    }
    names = {name for name, _ in own}
    return {key: _pace(list(own.items()), at) if len(names) > 1 else 1.0 for at, key in enumerate(own)}


def _pace(runs: Sequence[tuple[tuple[str, int], float]], at: int) -> float:
    """Return the median over the splits that ran nearest to a run."""
    votes: dict[str, float] = {}
    near = range(max(0, at - WITHIN), min(len(runs), at + WITHIN + 1))
    for other in sorted(near, key=lambda place: abs(place - at)):
        (name, _), pace = runs[other]
        if len(votes) < VOTES:
            votes.setdefault(name, pace)
    return median(votes.values()) or 1.0


def _longest(run: RunRecord, plan: Plan) -> float:
    """Return what the stage that took longest took, over what it is expected to."""
    took_s, usual_s = max((own.took_s, stage.expected_s) for own, stage in zip(run.stages, plan.stages, strict=True))
    return took_s / usual_s if usual_s else 1.0


def _split(part: Contender, batch_size: int, runs: Sequence[RunRecord], paces: Paces) -> SplitAudit:
    own = [run for run in runs if run.name == part.name and run.failure is None]
    periods_s = [batch_size / run.throughput_samples_per_s for run in own]
    measured_s = median(periods_s)
    settled_s = median(
        period_s / paces.get((part.name, run.round), 1.0) for period_s, run in zip(periods_s, own, strict=True)
    )
    predicted_s = batch_size / part.predicted_throughput_samples_per_s
    return SplitAudit(
        partition=part.name,
        error=measured_s / predicted_s - 1,
        settled_error=settled_s / predicted_s - 1,
        predicted_s=predicted_s,
        settled_s=settled_s,
    )


def _verdict(splits: Sequence[SplitAudit], order: float | None, pace: float | None) -> str:
    """Say how well the promises were kept, and what the machine's pace was."""
    errors = [abs(split.settled_error) for split in splits]
    subject = "Predictions"
    if pace and abs(pace - 1) >= PACE_SAID:
        subject = f"The machine ran {pace:.2f} times as long as when profiled; but for that, predictions"
    sentence = f"{subject} were off by {mean(errors):.0%}"
    if len(splits) > 1:
        worst = max(splits, key=lambda split: abs(split.settled_error))
        sentence += f" on average, {abs(worst.settled_error):.0%} at most ({worst.partition})"
    if order is not None:
        sentence += f", their order was {'right' if order >= ORDERED else 'not right'} ({order:.2f})"
    return f"{sentence}."


def spearman(first: Sequence[float], other: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation; None for fewer than ``FEWEST_PAIRS``, or where either side is one value."""
    from scipy import stats

    if len(first) < FEWEST_PAIRS or len(set(first)) == 1 or len(set(other)) == 1:
        return None
    return float(stats.spearmanr(first, other).statistic)
