"""What a user would run instead: each trains for real on a small model, and a failure is told as one sentence."""

import copy
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psutil
import pytest
import torch
from strategies import profile_of
from torch import nn

from optimizer.plan import Plan
from optimizer.planning import Planner
from profiler.capture import captured_model
from profiler.settings import Config
from profiler.settings.update_rule import RuleName
from runtime.compare import Baselines, baseline_rows
from runtime.compare.baseline_process import PREPARE
from runtime.compare.baselines import Spec
from runtime.errors import RunError

CONFIG = Config(model="small_models:Residual", batch_size=2, image_size=16, batches=4, lr=0.01)


@pytest.fixture(autouse=True)
def _models_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    import small_models

    monkeypatch.setenv("PYTHONPATH", f"{os.path.dirname(small_models.__file__)}:{os.environ.get('PYTHONPATH', '')}")  # noqa: PTH120


def left_behind() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "runtime.compare.baseline_process" in one.cmdline()]


def plan(stages: int = 2) -> Plan:
    return Planner(profile_of(captured_model(CONFIG), 0), stages, CONFIG.batches).optimized()


def test_every_way_stands_there_as_installed_and_tuned() -> None:
    rows = baseline_rows((0, 1))
    assert [(one.name.split(",")[0].split(" ")[0], one.tuned) for one in rows] == [
        (name, tuned)
        for name in ("one", "one", "DistributedDataParallel", "torch.distributed.pipelining")
        for tuned in (False, True)
    ]
    assert len({one.row for one in rows}) == 8
    assert all(one.semantics.startswith("synchronous") for one in rows)
    assert len(baseline_rows((0,))) == 2, "with one core there is nothing to share"


def test_stages_that_share_cores_give_a_baseline_no_more_threads_than_cores() -> None:
    names = [one.name for one in baseline_rows((0, 1, 0, 1))]
    assert "one process, 2 threads" in names
    assert "DistributedDataParallel, 2 × gloo" in names


def test_processes_train_together_as_replicas_and_as_a_pipeline(usable: tuple[int, ...]) -> None:
    cores = (usable[0], usable[-1])
    baselines = Baselines(CONFIG, plan(), cores)
    rows = baseline_rows(cores)
    assert "DistributedDataParallel" in rows[5].name
    assert baselines.run(rows[5]) > 0
    assert "pipelining" in rows[6].name
    assert baselines.run(rows[6]) > 0
    assert not left_behind()


@pytest.mark.parametrize("tuned", [False, True])
@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_one_process_trains_as_torch_does(tuned: bool, name: RuleName, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    theirs = copy.deepcopy(ours)
    made, labels = torch.randn(4, 3, 4), torch.randint(5, (4,))
    monkeypatch.setattr("runtime.compare.baseline_process._built", lambda _spec: (ours, made, labels))
    config = replace(CONFIG, update_rule=name, weight_decay=0.1)
    step, minibatches = PREPARE["process"](
        Spec(kind="process", tuned=tuned, threads=1, config=config, seed=0, cores=(0,))
    )
    rules: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
        "sgd": lambda of: torch.optim.SGD(of, lr=0.01, momentum=0.9, weight_decay=0.1),
        "adam": lambda of: torch.optim.Adam(of, lr=0.01, weight_decay=0.1),
        "adamw": lambda of: torch.optim.AdamW(of, lr=0.01, weight_decay=0.1),
    }
    rule = rules[name](theirs.parameters())
    for _ in range(3):
        step()
        rule.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(theirs(made), labels))
        rule.step()
    assert minibatches == 1
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-7)


def test_a_baseline_that_fails_says_why(usable: tuple[int, ...]) -> None:
    wrong = replace(CONFIG, model="small_models:not_there")
    baselines = Baselines(wrong, plan(), (usable[0], usable[-1]))
    with pytest.raises(RunError, match=r"failed in process 0: .*cannot find 'not_there'.*leave --baselines out"):
        baselines.run(baseline_rows((0,))[0])
    assert not left_behind()
