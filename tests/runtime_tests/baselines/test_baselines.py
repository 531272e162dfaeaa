"""What a user would run instead: it trains for real on a small model, as torch does, and a failure is one sentence."""

import copy
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from typing import Any

import pytest
import torch
from places import HELPERS
from torch import nn

from profiler.errors import StageplanError
from profiler.settings import Config
from profiler.settings.update_rule import RuleName
from runtime.baselines import run_baseline, why_left_out
from runtime.baselines.plain_pytorch import training

pytestmark = pytest.mark.slow

CONFIG = Config(model="small_models:Residual", batch_size=2, image_size=16, batches=4, lr=0.01)


@pytest.fixture(autouse=True)
def _models_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{HELPERS}:{os.environ.get('PYTHONPATH', '')}")


def left_behind() -> list[BaseProcess]:
    return [one for one in multiprocessing.active_children() if one.name == "stageplan-helper"]


def speed(cores: tuple[int, ...], config: Config = CONFIG, every: int = 1) -> float:
    return run_baseline(config, cores, every, step_s=0.1, precision="fp32")


def test_plain_pytorch_is_left_out_with_the_reason() -> None:
    assert not why_left_out(CONFIG, {0, 1}, "")
    assert "there is one core" in why_left_out(CONFIG, {0}, "")
    assert "--data was given" in why_left_out(CONFIG, {0, 1}, "loaders:good")
    assert "clips no gradients" in why_left_out(replace(CONFIG, clip=1.0), {0, 1}, "")
    assert "trains for cross-entropy" in why_left_out(replace(CONFIG, loss="losses:mse"), {0, 1}, "")


def test_a_process_trains_and_is_gone(usable: tuple[int, ...]) -> None:
    assert speed((usable[0], usable[-1]), every=2) > 0
    assert not left_behind()


@pytest.mark.parametrize(("name", "every"), [("sgd", 1), ("sgd", 3), ("adam", 1), ("adamw", 1)])
def test_one_process_trains_as_torch_does(
    name: RuleName,
    every: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    theirs = copy.deepcopy(ours)
    made, labels = torch.randn(4, 3, 2, 2), torch.randint(5, (4,))
    monkeypatch.setattr("runtime.baselines.plain_pytorch.models.build", lambda *_of: ours)
    monkeypatch.setattr("runtime.baselines.plain_pytorch.inputs_of", lambda *_of: made)
    monkeypatch.setattr("runtime.baselines.plain_pytorch.torch.randint", lambda *_of, **_by: labels)
    config = replace(CONFIG, update_rule=name, weight_decay=0.1)
    step = training(config, every, "fp32")
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
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-7)


def test_a_baseline_that_fails_says_why(usable: tuple[int, ...]) -> None:
    wrong = replace(CONFIG, model="small_models:not_there")
    with pytest.raises(StageplanError, match="cannot find 'not_there'"):
        speed((usable[0], usable[-1]), wrong)
    assert not left_behind()


def test_one_that_is_far_too_slow_is_ended(usable: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.baselines.plain_pytorch.START_S", -1000.0)
    with pytest.raises(StageplanError, match="was not done after"):
        speed((usable[0], usable[-1]))
    assert not left_behind()
