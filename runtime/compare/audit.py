"""Hold what was promised against what happened: how far off each split's prediction was, and why.

Of a split, the stage that was busiest is the bottleneck. With period = batch size ÷ throughput and that stage's times,

    measured period − predicted period = compute + contention + transfer + schedule
    compute      its work (forward, backward, update) alone      − its work as predicted
    contention   its work beside the other stages                − its work alone
    transfer     its copies                                      − its copies as predicted
    schedule     what the period has beyond that stage's work and copies, measured − predicted

Alone means under the ``sequential`` schedule, with as many weight versions as in rounds: no other stage works, but that
the stage before runs its backward while this one updates. So a little of the update's contention counts as compute.
"""

from collections.abc import Sequence
from statistics import mean

from runtime.compare.comparison import Audit, PartitionComparison, SplitAudit
from runtime.compare.ranking import spearman

GOOD, FAIR = 0.05, 0.10
ORDERED = 0.9


def audit(partitions: Sequence[PartitionComparison], batch_size: int, *, comparable: bool) -> Audit:
    """Return the audit of all splits that ran.

    Args:
        partitions: Those with ``same_as`` are left out, for a split counts once.
        batch_size: Samples per minibatch.
        comparable: Whether every stage had a core of its own; if not, there is nothing to audit.
    """
    ran = [part for part in partitions if part.same_as is None and part.throughput_samples_per_s]
    if not comparable or not ran:
        why = "no split ran" if comparable else "they do not cover shared cores"
        return Audit(mean_absolute_error=None, spearman=None, splits=(), verdict=f"Predictions not checked: {why}.")
    splits = tuple(_split(part, batch_size) for part in ran)
    off = mean(abs(split.error) for split in splits)
    order = spearman(
        [part.predicted_throughput_samples_per_s for part in ran],
        [part.throughput_samples_per_s.median for part in ran if part.throughput_samples_per_s],
    )
    return Audit(mean_absolute_error=off, spearman=order, splits=splits, verdict=_verdict(splits, off, order))


def _split(part: PartitionComparison, batch_size: int) -> SplitAudit:
    assert part.throughput_samples_per_s is not None
    measured_s = batch_size / part.throughput_samples_per_s.median
    predicted_s = batch_size / part.predicted_throughput_samples_per_s
    works = [stage.measured.work_s for stage in part.stages]
    totals = [work_s + stage.measured.send_s for work_s, stage in zip(works, part.stages, strict=True)]
    slowest = max(range(len(totals)), key=totals.__getitem__)
    stage, planned = part.stages[slowest], part.plan.stages[slowest]
    copies_s = planned.send_s + planned.receive_s
    promised_s = stage.predicted_s - copies_s
    alone_s = stage.alone_s
    return SplitAudit(
        partition=part.name,
        error=measured_s / predicted_s - 1,
        predicted_s=predicted_s,
        measured_s=measured_s,
        stage=slowest,
        compute_s=(works[slowest] if alone_s is None else alone_s) - promised_s,
        contention_s=None if alone_s is None else works[slowest] - alone_s,
        transfer_s=stage.measured.send_s - copies_s,
        schedule_s=(measured_s - totals[slowest]) - (predicted_s - stage.predicted_s),
    )


def _verdict(splits: Sequence[SplitAudit], off: float, order: float | None) -> str:
    worst = max(splits, key=lambda split: abs(split.error))
    held = "held" if off <= GOOD else "held roughly" if off <= FAIR else "did not hold"
    sentence = f"The promise {held}: throughput off by {off:.1%}"
    if len(splits) > 1:
        sentence += f" on average over {len(splits)} splits (at most {abs(worst.error):.1%}, {worst.partition})"
    if order is not None:
        kept = "the order was kept" if order >= ORDERED else "the order was not kept"
        sentence += f"; {kept} (Spearman {order:.2f})"
    return f"{sentence}; {_largest_part(splits)}."


def _largest_part(splits: Sequence[SplitAudit]) -> str:
    shares = {
        "compute": [split.compute_s / split.predicted_s for split in splits],
        "contention": [(split.contention_s or 0.0) / split.predicted_s for split in splits],
        "transfer": [split.transfer_s / split.predicted_s for split in splits],
        "schedule": [split.schedule_s / split.predicted_s for split in splits],
    }
    sizes = {name: mean(map(abs, values)) for name, values in shares.items()}
    part = max(sizes, key=sizes.__getitem__)
    net = mean(shares[part])
    return f"main source of error: {part}, on average {sizes[part]:.1%} of a minibatch's time (signed: {net:+.1%})"
