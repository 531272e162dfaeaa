"""Hold what was promised against what happened: how far off each split's prediction was, and why.

Every round times the plain step on one core, the yardstick. From the rounds in which both that and the split ran,

    settled period = median over the rounds of (period ÷ step now) · step when profiled
    k              = period of the same rounds ÷ settled period, how many times as slow the machine was; else 1

Of a split, the stage that was busiest is the bottleneck. With period = batch size ÷ throughput and that stage's times,

    measured period − predicted period = drift + compute + contention + transfer + schedule
    drift        (k − 1) · predicted period
    compute      its work (forward, backward, update) alone      − k · its work as predicted
    contention   its work beside the other stages                − its work alone
    transfer     its copies                                      − k · its copies as predicted
    schedule     what the period has beyond that stage's work and copies, measured − k · predicted

Alone means under the ``sequential`` schedule, with as many weight versions as in rounds: no other stage works, but that
the stage before runs its backward while this one updates. So a little of the update's contention counts as compute.
"""

from collections.abc import Mapping, Sequence
from statistics import mean, median

from runtime.compare.outcome import Audit, PartitionComparison, SplitAudit
from runtime.compare.ranking import Rounds, spearman
from runtime.compare.records import ONE_CORE

ORDERED = 0.9


def audit(
    partitions: Sequence[PartitionComparison],
    batch_size: int,
    rounds_by_name: Mapping[str, Rounds],
    profiled_s: float,
    *,
    comparable: bool,
) -> Audit:
    """Return the audit of all splits that ran.

    Args:
        partitions: Those with ``same_as`` are left out, for a split counts once.
        batch_size: Samples per minibatch.
        rounds_by_name: The throughput of each split, and of one core, by round.
        profiled_s: The plain step on one core when the model was profiled.
        comparable: As in ``Comparison``; if not, there is nothing to audit.
    """
    ran = [part for part in partitions if part.same_as is None and part.throughput_samples_per_s]
    if not comparable or not ran:
        why = "no split ran" if comparable else "they do not cover shared cores"
        return Audit(
            mean_absolute_error=None,
            mean_absolute_error_without_drift=None,
            spearman=None,
            splits=(),
            verdict=f"Predictions not checked: {why}.",
        )
    one_core = rounds_by_name.get(ONE_CORE, {})
    splits = tuple(
        _split(part, batch_size, *_settled(rounds_by_name.get(part.name, {}), one_core, profiled_s, batch_size))
        for part in ran
    )
    settled = [abs(split.error_without_drift) for split in splits if split.error_without_drift is not None]
    order = spearman(
        [part.predicted_throughput_samples_per_s for part in ran],
        [part.throughput_samples_per_s.median for part in ran if part.throughput_samples_per_s],
    )
    return Audit(
        mean_absolute_error=mean(abs(split.error) for split in splits),
        mean_absolute_error_without_drift=mean(settled) if len(settled) == len(splits) else None,
        spearman=order,
        splits=splits,
        verdict=_verdict(splits, order),
    )


def _settled(speeds: Rounds, one_core: Rounds, profiled_s: float, batch_size: int) -> tuple[float | None, float]:
    """Return a split's period on the machine as it was when profiled, and by what factor it is slower now.

    Args:
        speeds: Of the split, in samples/s, round by round.
        one_core: Of the plain step on one core, likewise.
        profiled_s: What that step took in the profile.
        batch_size: Samples in a minibatch.

    Without a round that has both, there is no period, and the factor is 1.
    """
    both = [number for number in speeds if number in one_core]
    if not both or not profiled_s:
        return None, 1.0
    settled_s = profiled_s * median(one_core[number] / speeds[number] for number in both)
    return settled_s, median(batch_size / speeds[number] for number in both) / settled_s


def _split(part: PartitionComparison, batch_size: int, settled_s: float | None, slower: float) -> SplitAudit:
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
        error_without_drift=settled_s / predicted_s - 1 if settled_s else None,
        predicted_s=predicted_s,
        measured_s=measured_s,
        stage=slowest,
        drift_s=(slower - 1) * predicted_s,
        compute_s=(works[slowest] if alone_s is None else alone_s) - slower * promised_s,
        contention_s=None if alone_s is None else works[slowest] - alone_s,
        transfer_s=stage.measured.send_s - slower * copies_s,
        schedule_s=(measured_s - totals[slowest]) - slower * (predicted_s - stage.predicted_s),
    )


def _verdict(splits: Sequence[SplitAudit], order: float | None) -> str:
    """Say what happened: predicted against measured throughput as it was, and only then what drift explains."""
    errors = [abs(split.error) for split in splits]
    settled = [abs(split.error_without_drift) for split in splits if split.error_without_drift is not None]
    kept = "" if order is None else f"order {'right' if order >= ORDERED else 'not right'} ({order:.2f}), "
    sentence = f"Predictions: {kept}off by {mean(errors):.0%}"
    if len(splits) > 1:
        worst = max(splits, key=lambda split: abs(split.error))
        sentence += f" on average, {abs(worst.error):.0%} at most ({worst.partition})"
    rest = mean(settled) if len(settled) == len(splits) else mean(errors)
    if rest > mean(errors):
        return f"{sentence}."  # nor what it is made of, which the same yardstick spoils
    if f"{rest:.0%}" != f"{mean(errors):.0%}":
        sentence += f"; had the machine been as fast as when it was profiled, {rest:.0%}"
    return f"{sentence}." if f"{rest:.0%}" == "0%" else f"{sentence}; main source of error: {_largest_part(splits)}."


def _largest_part(splits: Sequence[SplitAudit]) -> str:
    """Return the name of the part that is largest on average, the machine's drift aside."""
    together = all(split.contention_s is None for split in splits)
    work = "compute or contention" if together else "compute"
    sizes = {
        work: mean(abs(split.compute_s / split.predicted_s) for split in splits),
        "contention": mean(abs((split.contention_s or 0.0) / split.predicted_s) for split in splits),
        "transfer": mean(abs(split.transfer_s / split.predicted_s) for split in splits),
        "schedule": mean(abs(split.schedule_s / split.predicted_s) for split in splits),
    }
    return max(sizes, key=sizes.__getitem__)
