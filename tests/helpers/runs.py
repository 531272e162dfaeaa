"""Made-up results of runs."""

from paces import some_schedule
from simulations import simulated
from strategies import MACHINE, chain

from optimizer.plan import scheduled
from optimizer.planning import Planner
from optimizer.schedule import Duration, ScheduleName
from profiler.settings import UpdateRule
from runtime.results import ActionRecord, RunResult, StageRun, StageTimes


def run_of(name: ScheduleName, minibatches: int, work: list[float], every: int = 3) -> RunResult:
    """A run whose actions take what ``work`` says for each stage, each as early as what it needs is there."""
    stages = len(work)
    plan = Planner(chain([1] * 4), stages, minibatches).optimized()
    schedule = some_schedule(name, stages, minibatches, every)
    plan = scheduled(plan, schedule)
    spans = simulated(schedule, [Duration(1.1 * own, 1.1 * own, own, 1.1 * own) for own in work])
    rows: list[list[ActionRecord]] = []
    for row, own in zip(spans, work, strict=True):
        ends_s = [0.0, *(span.end_s for span in row)]
        rows.append([
            ActionRecord(
                kind=span.action.kind, minibatch=span.action.minibatch, version=0, wait_s=span.start_s - free_s,
                start_s=100.0 + span.start_s, computed_s=100.0 + span.start_s + own, end_s=100.0 + span.end_s,
                cpu_s=own,
            )
            for span, free_s in zip(row, ends_s, strict=False)
        ])  # fmt: skip
    clocks = [row[-1].end_s for row in rows]
    runs = tuple(
        StageRun(
            stage=stage,
            host="here",
            core=0,
            whole=StageTimes(
                minibatches=minibatches, began_s=100.0, ended_s=clocks[stage], forward_s=1, backward_s=1, weights_s=0,
                update_s=1,
                cpu_s=3, wait_s=0, peak_rss_bytes=None,
            ),
            actions=tuple(row),
        )
        for stage, row in enumerate(rows)
    )  # fmt: skip
    return RunResult(
        plan=plan, batch_size=plan.batch_size, minibatches=minibatches,
        rule=UpdateRule(lr=0.01), channel="shm",
        clock="wall", core_count=stages, comparable=True,
        throughput_samples_per_s=1.0, makespan_s=max(clocks) - 100.0, losses=(1.0,) * minibatches,
        stages=runs,
        machine=MACHINE,
    )  # fmt: skip
