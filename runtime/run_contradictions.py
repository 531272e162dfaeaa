"""Tell whether the values of a run's result go together."""

from collections.abc import Iterator

from optimizer.plan import contradictions
from optimizer.schedule import schedule_of
from runtime.results import RunResult, is_comparable

_JITTER_S, _MOST_S = 1e-6, 1e9


def odd_values(run: RunResult) -> Iterator[str]:
    """Yield, each in words, what of the values of a run's result cannot all be so."""
    yield from contradictions.odd_values(run.plan, as_run=True)
    plan = run.plan
    if (run.batch_size, run.minibatches) != (plan.batch_size, plan.predicted.minibatches):
        yield "batch size or number of minibatches are not those of its plan"
    if run.recorded_minibatches != plan.pace.listed(len(plan.stages), run.minibatches):
        yield f"of {run.minibatches} minibatches, {run.recorded_minibatches} are not those that are recorded"
    if run.comparable != is_comparable(run.clock, run.core_count, len(run.stages)):
        yield "whether it is comparable is not what its clock and its cores say"
    if len(run.losses) != run.recorded_minibatches:
        yield f"{run.recorded_minibatches} minibatches are recorded, and it has {len(run.losses)} losses"
    if run.recorded_minibatches == run.minibatches and run.losses[-1] != run.last_loss:
        yield f"its last loss is {run.last_loss}, and that of its last minibatch is {run.losses[-1]}"
    if [own.stage for own in run.stages] != list(range(len(plan.stages))):
        yield f"its plan has {len(plan.stages)} stages, and other ones ran"
    yield from _odd_actions(run)


def _odd_actions(run: RunResult) -> Iterator[str]:
    """Yield what is not as its schedule says, or not in its order."""
    plan = run.plan
    schedule = schedule_of(plan.schedule, len(plan.stages), run.minibatches, plan.update_every)
    for own, row in zip(run.stages, schedule.rows, strict=True):
        did = [(record.kind, record.minibatch) for record in own.actions]
        if not row or did != [(record.kind, record.minibatch) for record in row]:
            yield f"stage {own.stage} did something else than its schedule says"
        if own.whole.minibatches < max(1, own.minibatches):
            yield f"stage {own.stage} had fewer minibatches in all than are recorded"
        ends_s = [record.end_s for record in own.actions]
        for record, before_s in zip(own.actions, [own.actions[0].start_s, *ends_s], strict=False):
            if not before_s - _JITTER_S <= record.start_s <= record.computed_s <= record.end_s <= _MOST_S:
                yield f"an action of stage {own.stage} ends before it starts, or before the one before it"
