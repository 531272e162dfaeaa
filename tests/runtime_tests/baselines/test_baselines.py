"""What a user would run instead: each trains for real on a small model, and a failure is told as one sentence."""

import copy
import os
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import psutil
import pytest
import torch
from strategies import profile_of
from torch import nn

from optimizer.plan import Plan
from optimizer.planning import Planner
from profiler.capture import captured_model
from profiler.execution import ONE_TENSOR, cross_entropy
from profiler.machine import helper
from profiler.settings import Config
from profiler.settings.update_rule import RuleName
from runtime.baselines import Baselines, baseline_rows
from runtime.baselines.baselines import Kind, Precision, Spec
from runtime.baselines.process import PREPARE, Work
from runtime.channels import join, open_store, rendezvous_of
from runtime.errors import RunError

pytestmark = pytest.mark.slow

CONFIG = Config(model="small_models:Residual", batch_size=2, image_size=16, batches=4, lr=0.01)


@pytest.fixture(autouse=True)
def _models_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    import small_models

    monkeypatch.setenv("PYTHONPATH", f"{os.path.dirname(small_models.__file__)}:{os.environ.get('PYTHONPATH', '')}")  # noqa: PTH120


def left_behind() -> list[psutil.Process]:
    there = [one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in there if "runtime.baselines.process" in one.cmdline()]


def plan(stages: int = 2) -> Plan:
    return Planner(profile_of(captured_model(CONFIG), 0), stages, CONFIG.minibatches()).optimized()


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Two cores that are two, whatever this machine has."""
    monkeypatch.setattr("runtime.baselines.baselines.own_cores", lambda cores: len(set(cores)) == len(cores))
    return 0, 1


def test_every_way_stands_there_as_installed_and_tuned(two_cores: tuple[int, int]) -> None:
    rows, left_out = baseline_rows("all", two_cores)
    assert [(row.name.split(",")[0].split(" ")[0], row.tuned) for row in rows] == [
        (name, tuned)
        for name in ("one", "DistributedDataParallel", "torch.distributed.pipelining")
        for tuned in (False, True)
    ]
    assert len({row.row for row in rows}) == 6
    assert all(row.semantics.startswith("synchronous") for row in rows)
    assert not left_out
    assert [row.update_every for row in rows] == [1, 1, 2, 2, 8, 8]
    shared = baseline_rows("all", two_cores, 4)[0]
    assert [row.update_every for row in shared] == [4] * 6
    assert [row.update_every for row in baseline_rows("all", two_cores, 5)[0]] == [5, 5, 4, 4, 5, 5]
    assert {row.semantics for row in shared} == {"synchronous, one update for 4 minibatches"}
    assert "one stage is one core" in baseline_rows("all", (0,))[1]
    assert baseline_rows("none", two_cores) == ((), "")


def test_one_tuned_process_with_a_thread_for_each_stage_is_what_one_asks_first(two_cores: tuple[int, int]) -> None:
    ((row,), _) = baseline_rows("threads", two_cores)
    assert row.row == "one process, 2 threads, tuned"


def test_baselines_that_lack_cores_are_left_out_with_the_reason() -> None:
    rows, left_out = baseline_rows("all", (0, 1, 0, 1))
    assert rows == ()
    assert "to compare with 4 stages they need 4 cores, and there are 2" in left_out


def test_processes_train_together_as_replicas_and_as_a_pipeline(
    usable: tuple[int, ...], two_cores: tuple[int, int]
) -> None:
    cores = (usable[0], usable[-1])
    baselines = Baselines(CONFIG, plan(), cores)
    rows, _ = baseline_rows("all", two_cores)
    assert "DistributedDataParallel" in rows[3].name
    assert baselines.run(rows[3])[0] > 0
    assert "pipelining" in rows[4].name
    assert baselines.run(rows[4])[0] > 0
    assert baselines.run(rows[5])[0] > 0, "tuned, too, whose convolutions have their channels last"
    assert baselines.run(baseline_rows("all", two_cores, 4)[0][3])[0] > 0, "replicas that add up before they average"
    assert not left_behind()


def train_without_pickles(_connection: Connection, spec: Spec) -> int:
    assert spec.rendezvous
    join(spec.rendezvous, spec.rank, spec.world_size)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr("torch.distributed.distributed_c10d._pickler")
        patch.delattr("torch.distributed.distributed_c10d._unpickler")
        step, minibatches = PREPARE[spec.kind](spec)
        step()
        torch.distributed.barrier()
    return minibatches


@pytest.mark.parametrize(
    ("kind", "tuned", "precision"),
    [("ddp", False, "fp32"), ("pipelining", False, "fp32"), ("pipelining", True, "bf16")],
)
def test_nothing_that_processes_send_each_other_is_unpickled(
    kind: Kind, tuned: bool, precision: Precision  # noqa: FBT001
) -> None:  # fmt: skip
    store = open_store()
    first = Spec(
        kind=kind, tuned=tuned, threads=1, config=CONFIG, seed=0, update_every=2, cores=(0, 0), world_size=2,
        rendezvous=rendezvous_of(store), stages=plan().split, precision=precision,
    )  # fmt: skip
    with (
        helper(train_without_pickles, first) as one,
        helper(train_without_pickles, replace(first, rank=1)) as other,
    ):
        assert [one.receive(), other.receive()] == [2, 2]


@pytest.mark.parametrize("tuned", [False, True])
@pytest.mark.parametrize(("name", "every"), [("sgd", 1), ("sgd", 3), ("adam", 1), ("adamw", 1)])
def test_one_process_trains_as_torch_does(
    tuned: bool,  # noqa: FBT001
    name: RuleName,
    every: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    theirs = copy.deepcopy(ours)
    made, labels = torch.randn(4, 3, 4), torch.randint(5, (4,))
    work = Work(ours, made, labels, ONE_TENSOR, cross_entropy)
    monkeypatch.setattr("runtime.baselines.process._built", lambda _spec: work)
    config = replace(CONFIG, update_rule=name, weight_decay=0.1)
    step, minibatches = PREPARE["process"](
        Spec(kind="process", tuned=tuned, threads=1, config=config, seed=0, update_every=every, cores=(0,))
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
        torch.autograd.backward(nn.functional.cross_entropy(theirs(made), labels))  # the mean of equal minibatches
        rule.step()
    assert minibatches == every
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-7)


def test_a_baseline_that_fails_says_why(usable: tuple[int, ...], two_cores: tuple[int, int]) -> None:
    wrong = replace(CONFIG, model="small_models:not_there")
    baselines = Baselines(wrong, plan(), (usable[0], usable[-1]))
    with pytest.raises(RunError, match=r"failed in process 0: .*cannot find 'not_there'.*leave --baselines out"):
        baselines.run(baseline_rows("threads", two_cores)[0][0])
    assert not left_behind()
