"""1F1B over replicated stages as a schedule: a row for each rank, as ``optimizer.schedule.layout`` lays down."""

from collections.abc import Iterator, Sequence

from optimizer.schedule.layout import RankLayout
from optimizer.schedule.schedule import ASYNCHRONOUS, Action, Schedule


def round_robin(replicas: Sequence[int], minibatches: int) -> Schedule:
    """Return 1F1B over replicated stages, a row for each rank."""
    layout = RankLayout(tuple(replicas))
    rows = tuple(
        tuple(_actions(layout, stage, replica, minibatches))
        for stage, own in enumerate(layout.replicas)
        for replica in range(own)
    )
    return Schedule(ASYNCHRONOUS, None, rows, layout.replicas)


def _actions(layout: RankLayout, stage: int, replica: int, minibatches: int) -> Iterator[Action]:
    own = range(replica, minibatches, layout.replicas[stage])
    ahead = layout.depth(stage, minibatches)
    yield from (Action(stage, "F", minibatch) for minibatch in own[:ahead])
    for minibatch in range(replica, minibatches - minibatches % -layout.replicas[stage], layout.replicas[stage]):
        if minibatch in own:
            yield Action(stage, "B", minibatch)
        yield Action(stage, "U", minibatch)
        if minibatch + ahead * own.step in own:
            yield Action(stage, "F", minibatch + ahead * own.step)
