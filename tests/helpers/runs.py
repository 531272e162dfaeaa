"""Made-up results of runs."""

from paces import some_schedule
from strategies import MACHINE, chain

from optimizer.plan import scheduled
from optimizer.planning import Planner
from optimizer.schedule import ScheduleName
from profiler.settings import UpdateRule
from runtime.results import RunResult
from runtime.stage_run import ActionRecord, StageRun, StageTimes


def run_of(name: ScheduleName, minibatches: int, work: list[float], every: int = 3) -> RunResult:
    """A run whose actions take what ``work`` says for each stage, each as early as what it needs is there."""
    stages = len(work)
    plan = Planner(chain([1] * 4), stages, minibatches).optimized()
    schedule = some_schedule(name, stages, minibatches, every)
    plan = scheduled(plan, schedule)
    ends: dict[tuple[int, str, int], float] = {}
    clocks = [100.0] * stages
    rows: list[list[ActionRecord]] = [[] for _ in range(stages)]
    queues = [list(row) for row in schedule.rows]
    while any(queues):
        for stage, queue in enumerate(queues):
            while queue:
                action = queue[0]
                source = {"F": stage - 1, "B": stage + 1}.get(action.kind, -1)
                key = (source, action.kind, action.minibatch)
                if 0 <= source < stages and key not in ends:
                    break
                queue.pop(0)
                start = max(clocks[stage], ends.get(key, 0.0)) if 0 <= source < stages else clocks[stage]
                send = 0.1 * work[stage] if action.kind != "U" else 0.0
                computed = start + work[stage]
                rows[stage].append(
                    ActionRecord(
                        kind=action.kind, minibatch=action.minibatch, version=0, wait_s=start - clocks[stage],
                        start_s=start, computed_s=computed, end_s=computed + send, cpu_s=work[stage], sent_bytes=8,
                        page_faults=0,
                    )
                )  # fmt: skip
                clocks[stage] = computed + send
                ends[stage, action.kind, action.minibatch] = clocks[stage]
    runs = tuple(
        StageRun(
            stage=stage,
            host="here",
            core=0,
            whole=StageTimes(
                minibatches=minibatches, began_s=100.0, ended_s=clocks[stage], forward_s=1, backward_s=1, update_s=1,
                cpu_s=3, wait_s=0, peak_rss_bytes=None,
            ),
            actions=tuple(row),
        )
        for stage, row in enumerate(rows)
    )  # fmt: skip
    return RunResult(
        plan=plan, batch_size=plan.batch_size, minibatches=minibatches, recorded_minibatches=minibatches,
        rule=UpdateRule(lr=0.01), channel="shm",
        clock="wall", core_count=stages, comparable=True,
        throughput_samples_per_s=1.0, makespan_s=max(clocks) - 100.0, losses=(1.0,) * minibatches, last_loss=1.0,
        stages=runs,
        machine=MACHINE,
    )  # fmt: skip
