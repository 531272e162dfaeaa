"""Say what every stage is to become: its slice of the model, its actions, and its ends of the cuts."""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager

from optimizer.schedule import RankLayout, Schedule, StageRequirements
from profiler.execution import Segment, TensorSpec
from runtime.channels import Cut, Rendezvous, SharedMemory, channel_bytes, notification_sockets
from runtime.pipeline.feed import FeedEnd, feed_cut, feed_end, target_specs
from runtime.worker import CutEnd, DataSpec, Load, Settings


@contextmanager
def loads(
    segments: Sequence[Segment],
    schedule: Schedule,
    requirements: Sequence[StageRequirements],
    weights: SharedMemory,
    state: tuple[TensorSpec, ...],
    *,
    updates: int,
    settings: Settings,
    data: DataSpec,
    target: TensorSpec | None,
    here: Sequence[int],
    rendezvous: Rendezvous | None,
    taking_turns: Sequence[Hashable],
) -> Iterator[tuple[list[Load], list[FeedEnd]]]:
    """Yield what to tell each rank, and our ends of the rings of minibatches.

    Our own ends of all else are closed at the end of the context: so a stage that dies is noticed by its neighbours.

    Args:
        segments: Of each stage.
        schedule: What is going to run.
        requirements: What that asks of each stage.
        weights: The parameters and buffers of the whole model.
        state: How they lie there.
        updates: How many updates they have had.
        settings: How to run.
        data: What to train on, where stages make that themselves.
        target: What targets look like where minibatches come from this process; None where stages make them.
        here: The ranks of this process.
        rendezvous: Where the ranks meet, over gloo; None in shared memory.
        taking_turns: For each rank, on which core; those that name the same take turns. Nothing where none does.
    """
    layout = schedule.layout
    cuts = [
        Cut(segment.sends, own.activation_slots, own.gradient_slots, following.in_flight)
        for segment, own, following in zip(segments, requirements, requirements[1:], strict=False)
    ]
    ends = [_ends(cut, shared=settings.channel == "shm") for cut in cuts]
    inputs, targets = _feeds(layout, segments[0].receives, target, here, requirements[0].in_flight)
    shared = [core for core, ranks in Counter(taking_turns).items() if ranks > 1]
    turns: dict[Hashable, SharedMemory] = {}
    try:
        turns |= {core: SharedMemory.create(0) for core in shared}
        all_loads = [
            Load(
                rank=rank,
                layout=layout,
                segment=segments[stage],
                pace=schedule.pace,
                weights=weights,
                state=state,
                updates=updates,
                versions=requirements[stage].versions,
                in_flight=requirements[stage].in_flight,
                before=ends[stage - 1][1] if stage else None,
                behind=ends[stage][0] if stage < len(ends) else None,
                inputs=inputs[rank][1] if rank in inputs else None,
                targets=targets[rank][1] if rank in targets else None,
                turn=turns.get(taking_turns[rank]) if taking_turns else None,
                rendezvous=rendezvous,
                settings=settings,
                data=data,
            )
            for rank in range(layout.size)
            for stage in [layout.stage_of(rank)]
        ]
        yield (
            all_loads,
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
