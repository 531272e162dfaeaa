"""Pipelines under synchronous schedules against the model itself, which is neither captured nor cut."""

import operator
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import small_models
import torch
from pipelines import SETTINGS, captured_of, plan_of, random_bounds
from torch import Tensor, nn

from optimizer.schedule import SCHEDULES, ScheduleName, pace_of
from profiler.execution import Captured
from runtime.cli import main as cli
from runtime.pipeline import Execution
from runtime.results import ROUNDING, PartitionVerification
from runtime.supervisor import WorkerPool
from runtime.verify import Uncut, verify

SYNCHRONOUS = [name for name, rule in SCHEDULES.items() if rule.synchronous]
MINIBATCHES = 5


class Noisy(small_models.Plain):
    """Draws twice in functions of its own, beside a layer that draws."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.1 * torch.rand_like(x)
        y: Tensor = self.layers(self.drop(x))
        return y * torch.empty_like(y).uniform_(0.5, 1.5)


def verified(captured: Captured, pool: WorkerPool, schedule: ScheduleName) -> PartitionVerification:
    setting = replace(SETTINGS, pace=pace_of(schedule, 4, 3))
    with Execution(captured, pool, setting) as execution:
        plan = plan_of(captured, random_bounds(captured, 4))
        uncut = Uncut(execution)
        return verify("chosen", plan, execution, MINIBATCHES, lambda: None, uncut=uncut)


@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize("schedule", SYNCHRONOUS)
@pytest.mark.parametrize("kind", [small_models.Residual, Noisy, small_models.Heads])
def test_a_synchronous_pipeline_trains_what_the_uncut_model_trains(
    four_workers: WorkerPool, kind: Callable[[], nn.Module], schedule: ScheduleName
) -> None:
    found = verified(captured_of(kind), four_workers, schedule)
    assert found.identical
    assert found.uncut_error is not None
    assert found.uncut_error < 1e-5
    assert found.verified


@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize("schedule", sorted(set(SCHEDULES) - set(SYNCHRONOUS)))
def test_an_asynchronous_pipeline_trains_something_else(four_workers: WorkerPool, schedule: ScheduleName) -> None:
    found = verified(captured_of(small_models.Plain), four_workers, schedule)
    assert found.uncut_error is None
    assert found.verified


@pytest.mark.usefixtures("pinned_process")
def test_layers_that_are_not_the_models_are_found_though_the_replay_agrees(four_workers: WorkerPool) -> None:
    captured = captured_of(small_models.Residual)
    total = next(operation for operation in captured.operations if operation.name == "add")
    other = replace(total, target=operator.sub)
    captured = replace(captured, operations=tuple(other if own is total else own for own in captured.operations))
    found = verified(captured, four_workers, "1f1b-flush")
    assert found.identical
    assert found.uncut_error is not None
    assert found.uncut_error > ROUNDING
    assert not found.verified


@pytest.mark.usefixtures("kept_workers")
def test_the_command_fails_where_the_uncut_model_trains_something_else(
    in_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["verify", "--model", "small_models:Plain", "--batch-size", "4", "--image-size", "16", "--stages", "2"]
    command += ["--schedule", "1f1b-flush", "--update-every", "1", "--slice", "none"]
    command += ["--partition", "equal-load", "--batches", "3"]
    assert cli.main(command) == 0
    assert "; so is the uncut model" in capsys.readouterr().out
    monkeypatch.setattr(Uncut, "error", lambda *_: 0.5)
    assert cli.main(command) == 1
    assert "the uncut model DIFFERS (by 0.5 at most)" in capsys.readouterr().out
    assert {path.name for path in in_folder.iterdir()} == {"profiles"}
