"""Stages that share cores take turns on them, and the virtual clock tells what a core for each would give."""

import os
import random
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
import small_models
import torch
from hypothesis import given
from hypothesis import strategies as st
from paces import some_schedule
from pipelines import MINIBATCHES, RULE, SEED, captured_of, plan_of
from simulations import orders

from optimizer.plan import Plan, scheduled
from optimizer.plan.forecast import timeline
from optimizer.schedule import (
    SCHEDULES,
    Action,
    Pace,
    Schedule,
    ScheduleName,
    Span,
    makespan_s,
    pace_of,
    simulate,
)
from profiler.execution import Captured
from runtime.pipeline import Execution
from runtime.pipeline.outcome import on_virtual_clock
from runtime.results import ActionRecord, Clock, RunResult
from runtime.supervisor import WorkerPool
from runtime.worker import Settings

STAGES = 4


def records(spans: Sequence[Sequence[Span]], slower: float = 1.0) -> list[list[ActionRecord]]:
    """Actions that took so long, one after the other, a fifth of it for copying."""
    rows = []
    for row in spans:
        at_s, own = 1000.0, []
        for span in row:
            action, time_s = span.action, slower * (span.end_s - span.start_s)
            own.append(
                ActionRecord(
                    kind=action.kind,
                    minibatch=action.minibatch,
                    version=0,
                    wait_s=3.0,
                    start_s=at_s,
                    computed_s=at_s + 0.8 * time_s,
                    end_s=at_s + time_s,
                    cpu_s=time_s,
                )
            )
            at_s += time_s + 5.0
        rows.append(own)
    return rows


@given(
    name=st.sampled_from(list(SCHEDULES)),
    stages=st.integers(1, 4),
    minibatches=st.integers(1, 6),
    draw=st.randoms(use_true_random=False),
)
def test_actions_keep_their_length_and_what_they_wait_for(
    name: ScheduleName, stages: int, minibatches: int, draw: random.Random
) -> None:
    """Whatever ran first on cores that are shared, on a core of its own each stage does what its rule says."""
    schedule = some_schedule(name, stages, minibatches, 3)
    drawn = [simulate(schedule.pace, stages, minibatches, lambda *_: draw.randint(1, 50)) for _ in range(2)]
    took_s = {span.action: span.end_s - span.start_s for row in drawn[0] for span in row}
    as_run = [[Span(span.action, 0.0, took_s[span.action]) for span in row] for row in drawn[1]]
    moved = on_virtual_clock(schedule, records(as_run))
    ends = {(stage, own.kind, own.minibatch): own.end_s for stage, row in enumerate(moved) for own in row}
    assert orders(drawn[0]) == [
        [Action(stage, own.kind, own.minibatch) for own in row] for stage, row in enumerate(moved)
    ]
    for stage, row in enumerate(moved):
        lengths_s = [took_s[Action(stage, own.kind, own.minibatch)] for own in row]
        assert [own.end_s - own.start_s for own in row] == pytest.approx(lengths_s)
        assert [own.end_s - own.computed_s for own in row] == pytest.approx([0.2 * own for own in lengths_s])
        assert all(later.start_s - later.wait_s == earlier.end_s for earlier, later in pairwise(row))
        for own in row:
            neighbour = {"F": stage - 1, "B": stage + 1}.get(own.kind, -1)
            if 0 <= neighbour < stages:
                assert own.start_s >= ends[neighbour, own.kind, own.minibatch]
    assert min(row[0].start_s for row in moved) == 0


@pytest.fixture(scope="module")
def captured() -> Captured:
    return captured_of(small_models.Residual)


@pytest.fixture(scope="module")
def chosen(captured: Captured) -> Plan:
    return plan_of(captured, None, STAGES)


@pytest.mark.parametrize("name", SCHEDULES)
def test_durations_that_are_as_predicted_give_the_prediction(chosen: Plan, name: ScheduleName) -> None:
    schedule = some_schedule(name, STAGES, MINIBATCHES, 3)
    planned = scheduled(chosen, schedule)
    spans = timeline(planned.stages, schedule)
    moved = on_virtual_clock(schedule, records(spans))
    for row, own in zip(spans, moved, strict=True):
        assert [span.start_s for span in row] == pytest.approx([record.start_s for record in own])
    whole_s = max(row[-1].end_s for row in moved)
    assert whole_s == pytest.approx(makespan_s(spans)) == pytest.approx(planned.predicted.makespan_s)


@pytest.fixture(scope="module")
def pool(usable: tuple[int, ...]) -> Iterator[WorkerPool]:
    """Four stages on two cores, or on one where there is but one."""
    cores = [usable[stage % min(2, len(usable))] for stage in range(STAGES)]
    with WorkerPool(cores) as processes:
        yield processes


def trained(
    captured: Captured, plan: Plan, pool: WorkerPool, clock: Clock, schedule: ScheduleName
) -> tuple[RunResult, dict[str, torch.Tensor]]:
    chosen_settings = Settings(rule=RULE, seed=SEED, clock=clock, pace=pace_of(schedule, STAGES, 3))
    with Execution(captured, pool, chosen_settings) as execution, execution.loaded(plan, MINIBATCHES) as loaded:
        return loaded.run_loaded().result, loaded.state_dict()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_stages_that_take_turns_train_the_same_and_are_comparable(
    captured: Captured, chosen: Plan, pool: WorkerPool, schedule: ScheduleName
) -> None:
    virtual, weights = trained(captured, chosen, pool, "virtual", schedule)
    wall, same = trained(captured, chosen, pool, "wall", schedule)
    assert all(torch.equal(weights[path], same[path]) for path in weights)
    assert virtual.losses == wall.losses
    assert (virtual.clock, virtual.comparable) == ("virtual", True)
    assert (wall.clock, wall.comparable) == ("wall", False)
    assert min(stage.actions[0].start_s for stage in virtual.stages) == 0
    last_s = max(stage.actions[-1].end_s for stage in virtual.stages)
    assert virtual.makespan_s == pytest.approx(last_s)


def test_no_two_stages_of_a_core_work_at_once(
    captured: Captured, chosen: Plan, pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As measured, before the virtual clock has moved anything."""
    seen: list[Sequence[Sequence[ActionRecord]]] = []

    def watched(schedule: Schedule, stages: Sequence[Sequence[ActionRecord]]) -> list[tuple[ActionRecord, ...]]:
        seen.append(stages)
        return on_virtual_clock(schedule, stages)

    monkeypatch.setattr("runtime.pipeline.outcome.on_virtual_clock", watched)
    trained(captured, chosen, pool, "virtual", "1f1b")
    (stages,) = seen
    for core in set(pool.cores):
        there = [row for row, own in zip(stages, pool.cores, strict=True) if own == core]
        spans = sorted((own.start_s, own.end_s) for row in there for own in row)
        assert len(there) > 1
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))


def test_hundreds_of_messages_ahead_cannot_lock_stages_that_take_turns(captured: Captured) -> None:
    """With gpipe a stage may be further ahead than the socket to its neighbour holds; it waits then, but in no turn."""
    core = min(os.sched_getaffinity(0))
    chosen_settings = Settings(rule=RULE, seed=SEED, clock="virtual", pace=Pace("gpipe", 400))
    plan = plan_of(captured, None, 2)
    with WorkerPool([core] * 2) as processes, Execution(captured, processes, chosen_settings) as execution:
        assert len(execution.run(plan, 400).losses) == 400
