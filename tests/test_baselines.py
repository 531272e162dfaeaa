"""What a user would run instead: each trains for real on a small model, and a failure is told as one sentence."""

import os
from dataclasses import replace

import psutil
import pytest
from strategies import profile_of

from optimizer.planner import Planner
from optimizer.types import Plan
from profiler.config import Config
from profiler.workload import captured_model
from runtime.baselines import Baselines
from runtime.errors import RunError

CONFIG = Config(model="small_models:Residual", batch_size=2, image_size=16, batches=4, lr=0.01)


@pytest.fixture(autouse=True)
def _models_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    import small_models

    monkeypatch.setenv("PYTHONPATH", f"{os.path.dirname(small_models.__file__)}:{os.environ.get('PYTHONPATH', '')}")  # noqa: PTH120


def left_behind() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "runtime.baseline_process" in one.cmdline()]


def plan(stages: int = 2) -> Plan:
    return Planner(profile_of(captured_model(CONFIG), 0), stages, CONFIG.batches).optimized()


def test_every_way_stands_there_as_installed_and_tuned() -> None:
    rows = Baselines(CONFIG, plan(), (0, 1)).rows
    assert [(one.name.split(",")[0].split(" ")[0], one.tuned) for one in rows] == [
        (name, tuned)
        for name in ("one", "one", "DistributedDataParallel", "torch.distributed.pipelining")
        for tuned in (False, True)
    ]
    assert len({one.row for one in rows}) == 8
    assert all(one.semantics.startswith("synchronous") for one in rows)
    assert len(Baselines(CONFIG, plan(1), (0,)).rows) == 2, "with one core there is nothing to share"


def test_each_kind_trains(usable: tuple[int, ...]) -> None:
    cores = (usable[0], usable[-1])
    baselines = Baselines(CONFIG, plan(), cores)
    rows = [one.row for one in baselines.rows]
    for row in (rows[5], rows[6]):
        assert baselines.run(row) > 0, row
    assert not left_behind()


def test_a_baseline_that_fails_says_why(usable: tuple[int, ...]) -> None:
    wrong = replace(CONFIG, model="small_models:not_there")
    baselines = Baselines(wrong, plan(), (usable[0], usable[-1]))
    with pytest.raises(RunError, match=r"failed in process 0: .*cannot find 'not_there'.*leave --baselines out"):
        baselines.run(baselines.rows[0].row)
    assert not left_behind()
