"""One process that trains as a pipeline does is plain PyTorch, and losses that leave are told in training."""

import warnings
from pathlib import Path

import pytest
import small_models
import torch
from pipelines import RULE, SHAPE, build
from torch import Tensor, nn
from trained import pipeline, plan_for

from profiler.execution import cross_entropy
from profiler.settings import UpdateRule
from runtime.errors import RunError, TrainingWarning
from runtime.training import Loaders, PlainTraining, beside, train_epochs
from runtime.training.epoch_views import against_words
from runtime.training.epochs import EpochRecord, Part

pytestmark = pytest.mark.usefixtures("kept_workers")


def pairs(count: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    drawn = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(SHAPE, generator=drawn), torch.randint(small_models.CLASSES, SHAPE[:1], generator=drawn))
        for _ in range(count)
    ]


@pytest.mark.parametrize(("every", "rule"), [(1, RULE), (3, RULE), (1, UpdateRule(name="adamw", lr=0.01, clip=0.1))])
def test_one_process_is_plain_pytorch(every: int, rule: UpdateRule) -> None:
    data: list[tuple[Tensor, Tensor]] = pairs(7)
    records: list[Part | EpochRecord] = []
    loaders = Loaders(training=data, validation=pairs(3, 1))
    training = PlainTraining(build(small_models.Plain), cross_entropy, rule, every, lambda done: rule.lr / (1 + done))
    train_epochs(training, loaders, 2, limit=None, checkpoint=None, every=None, report=records.append)
    model = build(small_models.Plain)
    name, arguments = rule.torch_optim
    optimizer, losses, updates = getattr(torch.optim, name)(model.parameters(), **arguments), [], 0
    for _ in range(2):
        for first in range(0, len(data), every):
            group = data[first : first + every]
            optimizer.zero_grad()
            for inputs, targets in group:
                loss = nn.functional.cross_entropy(model(inputs), targets)
                losses.append(float(loss.detach()))
                torch.autograd.backward(loss / len(group))
            if rule.clip:
                nn.utils.clip_grad_value_(model.parameters(), rule.clip)
            optimizer.param_groups[0]["lr"] = rule.lr / (1 + updates)
            optimizer.step()
            updates += 1
    parts = [record for record in records if isinstance(record, Part)]
    epochs = [record for record in records if isinstance(record, EpochRecord)]
    assert [loss for part in parts for loss in part.losses] == losses
    model.eval()
    right = [(model(inputs).argmax(1) == targets).float().mean().item() for inputs, targets in pairs(3, 1)]
    assert epochs[1].validation == pytest.approx(sum(right) / 3)
    assert [each.plain for each in beside(epochs, records)] == epochs
    assert "accuracy" in against_words(epochs[1], epochs[1])


def stubborn(count: int) -> list[tuple[Tensor, Tensor]]:
    """Data that are learnt by heart at first, and then are others."""
    same, others = pairs(1)[0], pairs(1, seed=9)[0]
    return [*[same] * (count - 30), *[(100 * others[0], (same[1] + 1) % small_models.CLASSES)] * 30]


def test_training_stops_where_a_loss_leaves() -> None:
    words = r"(?s)the loss rises out of its spread: .* lower lr.*on_nan=.warn"
    with pipeline(small_models.Plain, plan_for(small_models.Plain, 2)) as stopped, pytest.raises(RunError, match=words):
        stopped.train(stubborn(90))


def test_a_loss_that_leaves_is_warned_of_once_where_training_goes_on() -> None:
    with pipeline(small_models.Plain, plan_for(small_models.Plain, 2), on_nan="warn") as warned:
        with pytest.warns(TrainingWarning, match="the loss rises out of its spread"):
            warned.train(stubborn(90))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warned.train(stubborn(90))


def test_a_checkpoint_from_before_the_correction_is_gone_on_from_and_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    plan = plan_for(small_models.Plain, 2)
    with pipeline(small_models.Plain, plan) as first:
        first.train(pairs(6))
        first.save(path)
    values = torch.load(path, weights_only=True)
    assert values["rule"] == "sgd with momentum, corrected for staleness"
    torch.save(values | {"rule": "sgd with momentum"}, path)
    with pipeline(small_models.Plain, plan) as second:
        with pytest.warns(
            TrainingWarning, match="without the correction for staleness, .* updates are corrected; .*=False"
        ):
            second.resume(path)
        assert len(second.train(pairs(3)).losses) == 3
        second.save(path)
    plainly = UpdateRule(lr=0.05, momentum=0.9, correct_staleness=False)
    with pytest.warns(TrainingWarning, match="trained with the correction .* are not corrected; .*=True"):
        pipeline(small_models.Plain, plan, update=plainly).resume(path)
    torch.save(values | {"rule": "sgd with momentum"}, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipeline(small_models.Plain, plan, update=plainly).resume(path)
        pipeline(small_models.Plain, plan, schedule="1f1b-flush").resume(path)
