"""Say what every stage is to become: its slice of the model, its actions, and its ends of the cuts."""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager

from optimizer.schedule import RankLayout, StageRequirements
from profiler.execution import Segment, TensorSpec
from runtime.channels import Cut, SharedMemory, channel_bytes, notification_sockets
from runtime.pipeline.feed import FeedEnd, feed_cut, feed_end, target_specs
from runtime.worker import Common, CutEnd, Load, Seat


@contextmanager
def loads(
    common: Common,
    segments: Sequence[Segment],
    requirements: Sequence[StageRequirements],
    target: TensorSpec | None,
    *,
    here: Sequence[int],
    taking_turns: Sequence[Hashable],
) -> Iterator[tuple[list[Load], list[FeedEnd]]]:
    """Yield what to tell each rank, and our ends of the rings of minibatches.

    Our own ends of all else are closed at the end of the context: so a stage that dies is noticed by its neighbours.

    Args:
        common: What all are told alike.
        segments: Of each stage.
        requirements: What the schedule asks of each stage.
        target: What targets look like where minibatches come from this process; None where stages make them.
        here: The ranks of this process.
        taking_turns: For each rank, on which core; those that name the same take turns. Nothing where none does.
    """
    layout = common.layout
    cuts = [
        Cut(segment.sends, own.activation_slots, own.gradient_slots, following.in_flight)
        for segment, own, following in zip(segments, requirements, requirements[1:], strict=False)
    ]
    ends = [_ends(cut, shared=common.settings.channel == "shm") for cut in cuts]
    inputs, targets = _feeds(layout, segments[0].receives, target, here, requirements[0].in_flight)
    shared = [core for core, ranks in Counter(taking_turns).items() if ranks > 1]
    turns: dict[Hashable, SharedMemory] = {}
    try:
        turns |= {core: SharedMemory.create(0) for core in shared}
        seats = [
            Seat(
                rank=rank,
                segment=segments[stage],
                versions=requirements[stage].versions,
                in_flight=requirements[stage].in_flight,
                before=ends[stage - 1][1] if stage else None,
                behind=ends[stage][0] if stage < len(ends) else None,
                inputs=inputs[rank][1] if rank in inputs else None,
                targets=targets[rank][1] if rank in targets else None,
                turn=turns.get(taking_turns[rank]) if taking_turns else None,
            )
            for rank in range(layout.size)
            for stage in [layout.stage_of(rank)]
        ]
        yield (
            [Load(common, seat) for seat in seats],
            [
                feed_end(own, targets=ends is targets, replica=layout.replica_of(rank), replicas=layout.replicas[stage])
                for ends, stage in ((inputs, 0), (targets, layout.stages - 1))
                for rank, (own, _) in ends.items()
            ],
        )
    finally:
        theirs = [other for pairs in (inputs, targets) for _, other in pairs.values()]
        for end in (*(end for pair in ends for end in pair), *theirs):
            for held in (end.memory, end.notifications):
                if held is not None:
                    held.close()
        for turn in turns.values():
            turn.close()


def _feeds(
    layout: RankLayout, inputs: Sequence[TensorSpec], target: TensorSpec | None, here: Sequence[int], in_flight: int
) -> tuple[dict[int, tuple[CutEnd, CutEnd]], dict[int, tuple[CutEnd, CutEnd]]]:
    """Return the rings of inputs and of targets, by the rank that needs one: our end, and that rank's."""
    if target is None:
        return {}, {}
    specs = {0: tuple(inputs), 1: target_specs(target)}
    wanted = (layout.ranks(0), layout.ranks(layout.stages - 1))
    first, last = (
        {rank: _ends(feed_cut(specs[what], in_flight), shared=True) for rank in here if rank in ranks}
        for what, ranks in enumerate(wanted)
    )
    return first, last


def _ends(cut: Cut, *, shared: bool) -> tuple[CutEnd, CutEnd]:
    """Return the two ends of a cut: that of the stage before it, and that of the stage behind it."""
    if not shared:
        return CutEnd(cut=cut), CutEnd(cut=cut)
    memory = SharedMemory.create(channel_bytes(cut))
    first, second = notification_sockets()
    return CutEnd(cut=cut, memory=memory, notifications=first), CutEnd(cut=cut, memory=memory, notifications=second)
