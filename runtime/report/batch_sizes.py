"""Say which partition wins at each batch size, and why the winner changes.

The update of a weight costs the same whatever the batch size; forward and backward grow with it. So at small batches a
step's time lies where the parameters are, at large ones where the operations are, and the best cut moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.compare import Comparison, PartitionComparison
from runtime.report.findings import SPACED, in_order, listed
from runtime.report.warnings import mark

MOVED = 0.05
"""By so much of a step the update's share has to move before it counts as a cause."""


@dataclass(frozen=True, slots=True)
class Winner:
    """Who won at one batch size.

    Attributes:
        names: The winner's, and those of whom noise cannot tell apart from it; none where nothing ran.
        doubt: What has to stand beside that, in brackets with a blank before.
        runner_up: The fastest that is slower, or nothing.
        update_share: What share of a step the update is.
        speed: The winner's throughput, and ``predicted`` what was promised, in samples per second.
        heaviest: The layer that takes most of a step, and ``heaviest_share`` how much.
        reason: In one sentence.
    """

    batch_size: int
    names: tuple[str, ...]
    doubt: str
    runner_up: str
    speed: float
    predicted: float
    update_share: float
    heaviest: str
    heaviest_share: float
    reason: str


def winner(comparison: Comparison) -> Winner:
    """Return who won, by rank, of the partitions that were asked for."""
    parts = [part for part in comparison.summary.partitions if not part.name.startswith(SPACED)]
    ordered = [part for part in in_order(comparison, parts) if part.throughput_samples_per_s]
    ranked = [part for part in ordered if part.rank is not None]
    ordered = ranked or ordered
    first = [part for part in ordered if part is ordered[0] or (ranked and part.rank == ordered[0].rank)]
    others = ordered[len(first) :]
    fastest = first[0].throughput_samples_per_s if first else None
    whole = sum(layer.step_s for layer in comparison.layers) or 1.0
    heaviest = max(comparison.layers, key=lambda layer: layer.step_s)
    return Winner(
        batch_size=comparison.request.batch_size,
        names=tuple(part.name for own in first for part in parts if part.ran_as == own.ran_as),
        doubt=mark(comparison) or ("" if ranked else " (not ranked)"),
        runner_up=others[0].name if others else "",
        update_share=sum(layer.update_s for layer in comparison.layers) / whole,
        heaviest=heaviest.name,
        heaviest_share=heaviest.step_s / whole,
        speed=fastest.median if fastest else 0.0,
        predicted=first[0].predicted_throughput_samples_per_s if first else 0.0,
        reason=_reason(comparison, first[0], others[0] if others else None) if first else "nothing ran",
    )


def change(winners: Sequence[Winner]) -> str:
    """Say why the winner changes with the batch size, or that it does not."""
    winners = [won for won in winners if won.names]
    if len(winners) < 2:
        return ""
    if any(won.doubt for won in winners):
        return "Whether the winner changes, and why, cannot be said where a doubt stands beside it."
    first, last = winners[0], winners[-1]
    share = (
        f"updates, which cost the same whatever the batch, are {first.update_share:.0%} of a step at batch "
        f"{first.batch_size} and {last.update_share:.0%} at batch {last.batch_size}"
    )
    moved = (
        f"; the heaviest layer is {first.heaviest} ({first.heaviest_share:.0%}) there and {last.heaviest} "
        f"({last.heaviest_share:.0%}) here"
    )
    kept = set.intersection(*(set(won.names) for won in winners))
    if kept:
        return f"{listed(sorted(kept))} wins at every size, alone or in a tie, although {share}{moved}."
    if abs(first.update_share - last.update_share) < MOVED and first.heaviest == last.heaviest:
        return f"The winner changes and the costs do not say why, so most likely it is noise: {share}{moved}."
    return (
        f"The winner changes because cost moves from where the weights are to where the operations are: {share}{moved}."
    )


def _reason(comparison: Comparison, first: PartitionComparison, second: PartitionComparison | None) -> str:
    sentence = f"{first.name}: {_slowest(comparison, first)}"
    return f"{sentence}; {second.name}: {_slowest(comparison, second)}" if second else sentence


def _slowest(comparison: Comparison, part: PartitionComparison) -> str:
    """Say what the slowest stage is busy with, as predicted, and which layer is heaviest in it."""
    plan = part.plan
    times = [stage.total_s for stage in plan.stages]
    number = times.index(max(times))
    inside = set(map(comparison.own_layer, plan.stages[number].layers))
    layer = max((layer for layer in comparison.layers if layer.name in inside), key=lambda layer: layer.step_s)
    update = plan.stages[number].update_s / times[number] if times[number] else 0.0
    return (
        f"slowest stage {number}, {times[number] * 1e3:.1f} ms ({update:.0%} of it update; {layer.name} "
        f"{layer.step_s * 1e3:.1f} ms)"
    )
