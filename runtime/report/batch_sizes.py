"""Say which partition wins at each batch size, and why the winner changes.

The update of a weight costs the same whatever the batch size; forward and backward grow with it. So at small batches a
step's time lies where the parameters are, at large ones where the operations are, and the best cut moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.compare import Comparison, PartitionComparison
from runtime.report.findings import SPACED

MOVED = 0.05
"""By so much of a step the update's share has to move before it counts as a cause."""


@dataclass(frozen=True, slots=True)
class Winner:
    """Who won at one batch size.

    Attributes:
        names: The winner's, and those of whom noise cannot tell apart from it; none where nothing ran.
        runner_up: The fastest that is slower, or nothing.
        update_share: What share of a step the update is.
        speed: The winner's throughput, and ``predicted`` what was promised, in samples per second.
        heaviest: The layer that takes most of a step, and ``heaviest_share`` how much.
        reason: In one sentence.
    """

    batch_size: int
    names: tuple[str, ...]
    runner_up: str
    speed: float
    predicted: float
    update_share: float
    heaviest: str
    heaviest_share: float
    reason: str


def winner(comparison: Comparison) -> Winner:
    """Return who won, by measurement, or where stages shared cores, by prediction."""
    parts = [part for part in comparison.partitions if not part.name.startswith(SPACED)]
    ordered = sorted(parts, key=lambda part: (-_speed(comparison, part), part.name))
    ordered = [part for part in ordered if _speed(comparison, part) > 0]
    first = [part for part in ordered if _as_fast(comparison, part, ordered[0])]
    others = [part for part in ordered if part not in first]
    whole = sum(layer.step_s for layer in comparison.layers) or 1.0
    heaviest = max(comparison.layers, key=lambda layer: layer.step_s)
    return Winner(
        batch_size=comparison.request.batch_size,
        names=tuple(part.name for part in first),
        runner_up=others[0].name if others else "",
        update_share=sum(layer.update_s for layer in comparison.layers) / whole,
        heaviest=heaviest.name,
        heaviest_share=heaviest.step_s / whole,
        speed=_speed(comparison, first[0]) if first else 0.0,
        predicted=first[0].predicted_throughput_samples_per_s if first else 0.0,
        reason=_reason(comparison, first[0], others[0] if others else None) if first else "nothing ran",
    )


def change(winners: Sequence[Winner]) -> str:
    """Say why the winner changes with the batch size, or that it does not."""
    winners = [won for won in winners if won.names]
    if len(winners) < 2:
        return ""
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
        return f"{_listed(sorted(kept))} wins at every size, alone or in a tie, although {share}{moved}."
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


def _speed(comparison: Comparison, part: PartitionComparison) -> float:
    if not comparison.comparable:
        return part.predicted_throughput_samples_per_s
    return part.throughput_samples_per_s.median if part.throughput_samples_per_s else 0.0


def _as_fast(comparison: Comparison, part: PartitionComparison, best: PartitionComparison) -> bool:
    if comparison.comparable:
        return part is best or (part.rank is not None and part.rank == best.rank)
    return _speed(comparison, part) == _speed(comparison, best)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
