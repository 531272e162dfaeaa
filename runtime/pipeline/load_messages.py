"""Say what every stage is to become: its slice of the model, its actions, and its ends of the cuts."""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager

from optimizer.schedule import Schedule, StageRequirements, groups
from profiler.execution import Segment, TensorSpec
from runtime.channels import Cut, Rendezvous, SharedMemory, channel_bytes, notification_sockets
from runtime.worker import CutEnd, DataSpec, Load, Settings


@contextmanager
def loads(
    segments: Sequence[Segment],
    schedule: Schedule,
    requirements: Sequence[StageRequirements],
    weights: SharedMemory,
    state: tuple[TensorSpec, ...],
    *,
    settings: Settings,
    data: DataSpec,
    rendezvous: Rendezvous | None,
    taking_turns: Sequence[Hashable],
) -> Iterator[list[Load]]:
    """Yield what to tell each rank; our own ends of what it holds are closed at the end of the context.

    With ours closed, a stage that dies is noticed by its neighbours.

    Args:
        segments: Of each stage.
        schedule: What is going to run.
        requirements: What that asks of each stage.
        weights: The parameters and buffers of the whole model.
        state: How they lie there.
        settings: How to run.
        data: What to train on.
        rendezvous: Where the ranks meet, over gloo; None in shared memory.
        taking_turns: For each rank, on which core; those that name the same take turns. Nothing where none does.
    """
    layout = schedule.layout
    cuts = [
        Cut(segment.sends, own.activation_slots, own.gradient_slots, following.in_flight)
        for segment, own, following in zip(segments, requirements, requirements[1:], strict=False)
    ]
    ends = [_ends(cut, shared=settings.channel == "shm") for cut in cuts]
    group_sizes = _group_sizes(schedule)
    shared = [core for core, ranks in Counter(taking_turns).items() if ranks > 1]
    turns: dict[Hashable, SharedMemory] = {}
    try:
        turns |= {core: SharedMemory.create(0) for core in shared}
        yield [
            Load(
                rank=rank,
                layout=layout,
                segment=segments[stage],
                weights=weights,
                state=state,
                actions=schedule.rows[rank],
                versions=requirements[stage].versions,
                in_flight=requirements[stage].in_flight,
                group_sizes=group_sizes,
                before=ends[stage - 1][1] if stage else None,
                behind=ends[stage][0] if stage < len(ends) else None,
                turn=turns.get(taking_turns[rank]) if taking_turns else None,
                rendezvous=rendezvous,
                settings=settings,
                data=data,
            )
            for rank in range(layout.size)
            for stage in [layout.stage_of(rank)]
        ]
    finally:
        for end in (end for pair in ends for end in pair):
            for held in (end.memory, end.notifications):
                if held is not None:
                    held.close()
        for turn in turns.values():
            turn.close()


def _ends(cut: Cut, *, shared: bool) -> tuple[CutEnd, CutEnd]:
    """Return the two ends of a cut: that of the stage before it, and that of the stage behind it."""
    if not shared:
        return CutEnd(cut=cut), CutEnd(cut=cut)
    memory = SharedMemory.create(channel_bytes(cut))
    first, second = notification_sockets()
    return CutEnd(cut=cut, memory=memory, notifications=first), CutEnd(cut=cut, memory=memory, notifications=second)


def _group_sizes(schedule: Schedule) -> tuple[int, ...]:
    """Return for each minibatch how many are averaged in its update."""
    if schedule.flush_every is None:
        return (1,) * schedule.minibatches
    return tuple(len(group) for group in groups(schedule.minibatches, schedule.flush_every) for _ in group)
