"""Say what every stage is to become: its slice of the model, its actions, and its ends of the cuts."""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager

import torch

from optimizer.schedule import StageRequirements
from profiler.execution import Segment, TensorSpec
from runtime.channels import Cut, SharedMemory, channel_bytes, notification_sockets, shared_memory_channel
from runtime.pipeline.feed import FeedEnd
from runtime.worker import Common, CutEnd, Load

AHEAD = 2
"""Slots of a ring beside those of the minibatches in flight, so that a stage need not wait for this process."""


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
    """Yield what to tell each stage, and our ends of the rings of minibatches.

    Our own ends of all else are closed at the end of the context: so a stage that dies is noticed by its neighbours.

    Args:
        common: What all are told alike.
        segments: Of each stage.
        requirements: What the schedule asks of each stage.
        target: What targets look like where minibatches come from this process; None where stages make them.
        here: The stages of this process.
        taking_turns: For each stage, on which core; those that name the same take turns. Nothing where none does.
    """
    last = len(segments) - 1
    cuts = [
        Cut(segment.sends, own.activation_slots, own.gradient_slots, following.in_flight)
        for segment, own, following in zip(segments, requirements, requirements[1:], strict=False)
    ]
    ends = [_ends(cut, shared=common.settings.channel == "shm") for cut in cuts]
    inputs, targets = _feeds(last, segments[0].receives, target, here, requirements[0].in_flight)
    shared = [core for core, stages in Counter(taking_turns).items() if stages > 1]
    turns: dict[Hashable, SharedMemory] = {}
    try:
        turns |= {core: SharedMemory.create(0) for core in shared}
        told = [
            Load(
                common=common,
                stage=stage,
                segment=segment,
                versions=requirements[stage].versions,
                in_flight=requirements[stage].in_flight,
                before=ends[stage - 1][1] if stage else None,
                behind=ends[stage][0] if stage < len(ends) else None,
                inputs=inputs[1] if inputs and not stage else None,
                targets=targets[1] if targets and stage == last else None,
                turn=turns.get(taking_turns[stage]) if taking_turns else None,
            )
            for stage, segment in enumerate(segments)
        ]
        feeds = [_feed_end(pair[0], targets=pair is targets) for pair in (inputs, targets) if pair]
        yield told, feeds
    finally:
        theirs = [pair[1] for pair in (inputs, targets) if pair]
        for end in (*(end for pair in ends for end in pair), *theirs):
            for held in (end.memory, end.notifications):
                if held is not None:
                    held.close()
        for turn in turns.values():
            turn.close()


def _feeds(
    last: int, inputs: Sequence[TensorSpec], target: TensorSpec | None, here: Sequence[int], in_flight: int
) -> tuple[tuple[CutEnd, CutEnd] | None, tuple[CutEnd, CutEnd] | None]:
    """Return the rings of inputs and of targets, if the stages that need them are here: our end, and the stage's."""
    if target is None:
        return None, None
    share = TensorSpec(name="share", shape=(3,), stride=(1,), dtype=torch.float64, gradient=False)
    slots = in_flight + AHEAD
    first, other = (Cut(tuple(specs), slots, slots, in_flight) for specs in (inputs, (target, share)))
    return (
        _ends(first, shared=True) if 0 in here else None,
        _ends(other, shared=True) if last in here else None,
    )


def _feed_end(end: CutEnd, *, targets: bool) -> FeedEnd:
    """Return this process's end of a ring in shared memory, of which it keeps mapping and socket."""
    assert end.memory is not None
    assert end.notifications is not None
    channel = shared_memory_channel(end.memory, end.cut, end.notifications)
    return FeedEnd(channel, end.notifications, end.cut.activation_slots, targets)


def _ends(cut: Cut, *, shared: bool) -> tuple[CutEnd, CutEnd]:
    """Return the two ends of a cut: that of the stage before it, and that of the stage behind it."""
    if not shared:
        return CutEnd(cut=cut), CutEnd(cut=cut)
    memory = SharedMemory.create(channel_bytes(cut))
    first, second = notification_sockets()
    return CutEnd(cut=cut, memory=memory, notifications=first), CutEnd(cut=cut, memory=memory, notifications=second)
