"""Split each stage's time, from the run's first start to its last end, into work and bubbles.

busy        it runs an action
warm-up     it waits before the gradient of its first minibatch (of a round, where the schedule flushes) is there
starved     it waits for activations
blocked     it waits for gradients
drain       it waits after its last forward (of a round, where the schedule flushes)

Of a long run, it is the time of the minibatches that are recorded.

Of starved and blocked, the *imbalance* is what no schedule could save: the busiest stage has that much more to do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from optimizer.schedule import groups
from runtime.results import RunResult
from runtime.stage_run import ActionRecord


@dataclass(slots=True, kw_only=True)
class Bubbles:
    """One stage's time, in seconds; all but ``imbalance_s``, a part of two of them, add up to the whole of it."""

    busy_s: float = 0.0
    warm_up_s: float = 0.0
    starved_s: float = 0.0
    blocked_s: float = 0.0
    drain_s: float = 0.0
    imbalance_s: float = 0.0

    @property
    def total_s(self) -> float:
        """The whole, imbalance not counted twice."""
        return self.busy_s + self.warm_up_s + self.starved_s + self.blocked_s + self.drain_s


def bubbles_of(result: RunResult) -> list[Bubbles]:
    """Return each stage's time of a run."""
    start_s = min(stage.actions[0].start_s for stage in result.stages)
    end_s = max(stage.actions[-1].end_s for stage in result.stages)
    plan, minibatches = result.plan, result.recorded_minibatches
    flush_every = plan.update_every if plan.pace.rule.synchronous else minibatches
    every_stage = [_of_stage(stage.actions, start_s, end_s, minibatches, flush_every) for stage in result.stages]
    most_s = max(bubbles.busy_s for bubbles in every_stage)
    for bubbles in every_stage:
        bubbles.imbalance_s = min(bubbles.starved_s + bubbles.blocked_s, most_s - bubbles.busy_s)
    return every_stage


def _of_stage(
    actions: Sequence[ActionRecord], start_s: float, end_s: float, minibatches: int, flush_every: int
) -> Bubbles:
    bubbles = Bubbles()
    before_s = start_s
    for record, place in _placed(actions, minibatches, flush_every):
        wait_s = min(record.wait_s, max(0.0, record.start_s - before_s))
        if record is actions[0]:
            wait_s = record.start_s - before_s  # before the first, all is waiting
        setattr(bubbles, place, getattr(bubbles, place) + wait_s)
        # What lies between two actions and is no wait is the stage's own doing.
        bubbles.busy_s += record.end_s - before_s - wait_s
        before_s = record.end_s
    bubbles.drain_s += end_s - before_s
    return bubbles


def _placed(actions: Sequence[ActionRecord], minibatches: int, flush_every: int) -> Iterator[tuple[ActionRecord, str]]:
    """Yield each action with the name of what a wait before it is."""
    own = {record.minibatch for record in actions if record.kind == "F"}
    rounds = [[minibatch for minibatch in group if minibatch in own] for group in groups(minibatches, flush_every)]
    first, last = {group[0] for group in rounds}, {group[-1] for group in rounds}
    warm, over = True, False
    for record in actions:
        if record.kind == "F" and record.minibatch in first:
            warm, over = True, False
        steady = "starved_s" if record.kind == "F" else "blocked_s"
        yield record, "warm_up_s" if warm else "drain_s" if over else steady
        warm = warm and not (record.kind == "B" and record.minibatch in first)
        over = over or (record.kind == "F" and record.minibatch in last)
