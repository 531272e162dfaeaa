"""Real processes: what they train, what they say of it, and what is refused before they start."""

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import small_models
import torch
from pipelines import MINIBATCHES, RULE, SEED, SETTINGS, SHAPE, build, captured_of, plan_of
from torch import nn
from trained import plainly

from profiler.commands import MODULES, typed_as
from runtime.errors import InputError
from runtime.hosts import Session
from runtime.pipeline import Execution
from runtime.supervisor import WorkerPool
from runtime.worker import data


@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize(
    "kind", [small_models.Tied, small_models.Stateful, small_models.LastInPlace, small_models.StraightThrough]
)
def test_one_stage_trains_as_plain_torch_does(workers: Callable[[int], WorkerPool], kind: type[nn.Module]) -> None:
    with Execution(captured_of(kind), workers(1), SETTINGS) as execution:
        losses = execution.run(plan_of(captured_of(kind), None, stages=1), MINIBATCHES).losses
    model = build(kind)
    sgd = torch.optim.SGD(model.parameters(), lr=RULE.lr, momentum=RULE.momentum)
    batches = [
        (data.inputs(SEED, minibatch, SHAPE), data.targets(SEED, minibatch, SHAPE[:1], small_models.CLASSES))
        for minibatch in range(MINIBATCHES)
    ]
    plain = plainly(batches, sgd, lambda batch: nn.functional.cross_entropy(model(batch[0]), batch[1]))
    assert losses == pytest.approx(plain, rel=1e-5)


def test_what_does_not_fit_into_memory_never_starts(four_workers: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    captured = captured_of(small_models.Residual)
    monkeypatch.setattr("runtime.pipeline.execution.available_bytes", lambda: (1, "the machine"))
    with (
        typed_as(MODULES),
        Execution(captured, four_workers, SETTINGS) as execution,
        pytest.raises(InputError, match="the machine has 0 MiB free; use a smaller --batch-size"),
    ):
        execution.run(plan_of(captured, None), MINIBATCHES)


def test_what_users_code_prints_is_no_result(four_workers: WorkerPool, capfd: pytest.CaptureFixture[str]) -> None:
    captured = captured_of(small_models.Residual)
    with Execution(captured, four_workers, replace(SETTINGS, data="loaders:talkative")) as execution:
        execution.run(plan_of(captured, None), MINIBATCHES)
    printed = capfd.readouterr()
    assert "loading" not in printed.out


class Elsewhere(Session):
    """A process whose clock is behind that of the first stage's host."""

    def clock(self) -> float:
        return 1e6


def test_what_a_stage_did_is_told_on_the_clock_of_the_first_stages_host(workers: Callable[[int], WorkerPool]) -> None:
    captured, begun_s = captured_of(small_models.Residual), time.perf_counter()
    with Execution(captured, workers(2), SETTINGS, session=Elsewhere()) as execution:
        result = execution.run(plan_of(captured, None, 2), MINIBATCHES)
    for stage in result.stages:
        times = [own for action in stage.actions for own in (action.start_s, action.computed_s, action.end_s)]
        assert 1e6 + begun_s < min(times) <= max(times) < 1e6 + time.perf_counter()
        assert (stage.whole.began_s, stage.whole.ended_s) == (stage.actions[0].start_s, stage.actions[-1].end_s)
    assert 0 < result.makespan_s < 100


def test_a_result_says_what_every_stage_did(four_workers: WorkerPool) -> None:
    captured = captured_of(small_models.Residual)
    with Execution(captured, four_workers, SETTINGS) as execution:
        result = execution.run(plan_of(captured, None), MINIBATCHES)
    assert len(result.losses) == MINIBATCHES
    assert result.comparable == (len(set(four_workers.cores)) == 4)
    for index, stage in enumerate(result.stages):
        versions = [action.version for action in stage.actions if action.kind == "F"]
        assert versions == [max(0, minibatch - (4 - index) + 1) for minibatch in range(MINIBATCHES)]
        assert all(a.start_s <= a.computed_s <= a.end_s for a in stage.actions)
        assert all(a.end_s <= b.start_s for a, b in pairwise(stage.actions))
