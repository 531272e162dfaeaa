"""Replicated stages in real processes: against their replay, and against other ways to train the very same."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import small_models
import torch
from pipelines import MINIBATCHES, RULE, SEED, captured_of, plan_of
from torch import Tensor, nn

from optimizer.plan import Plan
from optimizer.schedule import Pace, pace_of
from profiler.execution import Captured
from profiler.files import contradictions
from profiler.settings import UpdateRule
from runtime.errors import InputError
from runtime.pipeline import Execution
from runtime.results import RunResult
from runtime.supervisor import WorkerPool
from runtime.verify import verify
from runtime.worker import Settings

GLOO = Settings(rule=RULE, seed=SEED, channel="gloo", record_digests=True)


def replicated(captured: Captured, replicas: tuple[int, ...]) -> Plan:
    plan = plan_of(captured, None, stages=len(replicas))
    stages = tuple(replace(stage, replicas=own) for stage, own in zip(plan.stages, replicas, strict=True))
    return replace(plan, stages=stages)


def trained(
    captured: Captured, plan: Plan, pool: WorkerPool, minibatches: int, given: Settings = GLOO
) -> tuple[RunResult, dict[str, Tensor]]:
    with Execution(captured, pool, given) as execution, execution.loaded(plan, minibatches) as loaded:
        result = loaded.run_loaded().result
        return result, loaded.state_dict()


@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize(
    ("kind", "replicas", "minibatches"),
    [
        (small_models.Residual, (2, 1, 1), MINIBATCHES),  # dropout, batch norm; a last round of one
        (small_models.Residual, (1, 2, 1), 8),
        (small_models.Residual, (1, 1, 2), 5),
        (small_models.Residual, (3, 1), 10),
        (small_models.Residual, (1, 3), 11),
        (small_models.Heads, (2, 2), 9),
        (small_models.Tied, (3, 1), 6),
        (small_models.Stateful, (1, 3), 7),
    ],
)
def test_a_replicated_pipeline_equals_its_replay_bit_for_bit(
    workers: Callable[[int], WorkerPool], kind: Callable[[], nn.Module], replicas: tuple[int, ...], minibatches: int
) -> None:
    assert_equals_its_replay(captured_of(kind), replicas, workers, GLOO, minibatches)


@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize("replicas", [(2, 1, 1), (1, 2)])
def test_so_does_one_under_adam(workers: Callable[[int], WorkerPool], replicas: tuple[int, ...]) -> None:
    given = replace(GLOO, rule=UpdateRule(name="adamw", lr=0.01))
    assert_equals_its_replay(captured_of(small_models.Residual), replicas, workers, given, 8)


def assert_equals_its_replay(
    captured: Captured, replicas: tuple[int, ...], workers: Callable[[int], WorkerPool], given: Settings, count: int
) -> None:
    plan = replicated(captured, replicas)
    with Execution(captured, workers(sum(replicas)), given) as execution:
        found = verify("it", plan, execution, count, lambda: None)
    assert found.first_difference is None
    assert found.digests == found.replay_digests


@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize(("replicas", "minibatches"), [((1, 2), 41), ((3, 1), 64)])
def test_a_long_run_with_replicas_ends_as_if_all_were_kept(
    workers: Callable[[int], WorkerPool], monkeypatch: pytest.MonkeyPatch, replicas: tuple[int, ...], minibatches: int
) -> None:
    captured = captured_of(small_models.Residual)
    plan = replicated(captured, replicas)
    whole, state = trained(captured, plan, workers(sum(replicas)), minibatches)
    monkeypatch.setattr("optimizer.schedule.schedule.MOST_LISTED", 1)
    long, same = trained(captured, plan, workers(sum(replicas)), minibatches)
    assert not list(contradictions(long))
    assert long.recorded_minibatches < minibatches == long.minibatches
    assert long.losses == whole.losses[: long.recorded_minibatches]
    assert long.last_loss == whole.last_loss == whole.losses[-1]
    assert all(torch.equal(state[path], same[path]) for path in state)
    assert max(own.end_s for stage in long.stages for own in stage.actions) < long.makespan_s + min(
        own.start_s for stage in long.stages for own in stage.actions
    )


@pytest.mark.usefixtures("pinned_process")
def test_one_stage_on_several_ranks_is_training_with_averaged_gradients(
    workers: Callable[[int], WorkerPool],
) -> None:
    """Two halves of a sum are added up as exactly as in one place: a flush every two minibatches, in one stage."""
    captured = captured_of(small_models.Plain)
    result, state = trained(captured, replicated(captured, (2,)), workers(2), 6)
    captured = captured_of(small_models.Plain)
    flush = Settings(rule=RULE, seed=SEED, pace=Pace("1f1b-flush", 2))
    other, alone = trained(captured, replicated(captured, (1,)), workers(1), 6, flush)
    assert result.losses == other.losses
    assert all(torch.equal(state[name], alone[name]) for name in state)
    assert [(run.stage, run.replica, run.minibatches) for run in result.stages] == [(0, 0, 3), (0, 1, 3)]


@pytest.mark.usefixtures("pinned_process")
def test_a_run_is_deterministic_and_its_records_say_who_ran_what(workers: Callable[[int], WorkerPool]) -> None:
    plan = replicated(captured_of(small_models.Residual), (2, 1, 1))
    first, _ = trained(captured_of(small_models.Residual), plan, workers(4), 7)
    again, _ = trained(captured_of(small_models.Residual), plan, workers(4), 7)
    assert first.losses == again.losses
    for run in first.stages:
        own = [record.minibatch for record in run.actions if record.kind == "F"]
        assert own == list(range(run.replica, 7, plan.stages[run.stage].replicas))
    updates = [sum(record.kind == "U" for record in run.actions) for run in first.stages]
    assert updates == [4, 4, 7, 7]
    assert {record.version for record in first.stages[0].actions if record.kind == "U"} == {1, 2, 3, 4}
    assert [first.name_of(run) for run in first.stages] == ["0.0", "0.1", "1", "2"]


@pytest.mark.parametrize(
    ("given", "minibatches", "words"),
    [
        (replace(GLOO, channel="shm"), 8, "add --channel gloo"),
        (replace(GLOO, pace=pace_of("gpipe", 2)), 8, "--schedule gpipe does not know"),
        (GLOO, 1, "a stage on 2 ranks and there are 1 minibatches"),
    ],
)
def test_what_replicas_cannot_do_is_refused(
    workers: Callable[[int], WorkerPool], given: Settings, minibatches: int, words: str
) -> None:
    captured = captured_of(small_models.Plain)
    with (
        Execution(captured, workers(4), given) as execution,
        pytest.raises(InputError, match=words),
    ):
        execution.run(replicated(captured, (2, 1, 1)), minibatches)
