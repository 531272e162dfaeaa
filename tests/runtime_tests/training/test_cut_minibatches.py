"""A loader's minibatch is one update, cut into parts: plain torch that adds up the same parts trains the same bits."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import small_models
import torch
from pipelines import SHAPE, build
from torch import Tensor, nn
from trained import Pairs, loader, pipeline, plan_for

from optimizer.schedule import SCHEDULES, ScheduleName
from profiler.settings import SGD
from runtime.errors import InputError, RunError, TrainingWarning

pytestmark = pytest.mark.usefixtures("pinned_process", "kept_workers")

SYNCHRONOUS = [name for name, rule in SCHEDULES.items() if rule.synchronous]
PLAIN = SGD(lr=0.1)
SIZES = (16, 13, 4, 3)
"""Samples a minibatch; the plan is for parts of four."""


def plainly(model: nn.Module, minibatches: Pairs, clip_norm: float = 0.0) -> list[float]:
    """The loop that anyone would write who has no memory for a whole minibatch."""
    sgd = torch.optim.SGD(model.parameters(), lr=PLAIN.lr, foreach=False)
    losses = []
    for inputs, targets in minibatches:
        sgd.zero_grad()
        total, parts = 0.0, -(-len(inputs) // SHAPE[0])
        for own, theirs in zip(inputs.tensor_split(parts), targets.tensor_split(parts), strict=True):
            loss = nn.functional.cross_entropy(model(own), theirs)
            share = len(own) / len(inputs)
            torch.autograd.backward(loss, torch.tensor(share))
            total += share * loss.item()
        if clip_norm:
            nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        sgd.step()
        losses.append(total)
    return losses


@pytest.mark.parametrize("schedule", SYNCHRONOUS)
@pytest.mark.parametrize("stages", [1, 3])
@pytest.mark.parametrize("channel", ["shm", "gloo"])
def test_every_update_is_plain_torchs(schedule: ScheduleName, stages: int, channel: str) -> None:
    kind = small_models.Plain
    minibatches, model = loader(*SIZES, 29), build(kind)
    with pipeline(kind, plan_for(kind, stages), update=PLAIN, schedule=schedule, channel=channel) as own:
        first = own.train(iter(minibatches[:2]))
        rest = own.train(minibatches[2:])
        state = own.state_dict()
        assert (own.minibatches, own.updates) == (5, 5)
    assert [first.minibatches, rest.minibatches] == [2, 3]
    assert [first.samples, rest.samples] == [29, 36]
    assert [*first.losses, *rest.losses] == plainly(model, minibatches)
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


def test_zero_bubble_is_what_a_pipeline_trains_with_unless_told_otherwise() -> None:
    kind = small_models.Plain
    with pipeline(kind, plan_for(kind, 2), update=SGD(lr=PLAIN.lr, clip_norm=0.3)) as own:
        assert "zero-bubble" in repr(own)
        assert own.update_words == "an update takes a minibatch of the loader, in parts of 4 samples or fewer"
        losses = own.train(loader(*SIZES)).losses
        state = own.state_dict()
    model = build(kind)
    assert list(losses) == plainly(model, loader(*SIZES), clip_norm=0.3)
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("kind", [small_models.Residual, small_models.Tied])
def test_what_is_trained_does_not_depend_on_the_split_nor_on_where_it_was_interrupted(
    kind: Callable[[], nn.Module], tmp_path: Path
) -> None:
    """With dropout, whose masks are another for each part, batch norm, and a weight that is tied."""
    minibatches = loader(16, 13, 6, 8)
    states: list[dict[str, Tensor]] = []
    for stages in (1, 2, 4):
        with pipeline(kind, plan_for(kind, stages)) as own:
            own.train(minibatches)
            states.append(own.state_dict())
    with pipeline(kind, plan_for(kind, 2)) as own:
        own.train(minibatches[:2])
        own.save(tmp_path / "half.ckpt")
    with pipeline(kind, plan_for(kind, 3)) as own:
        own.resume(tmp_path / "half.ckpt")
        assert (own.minibatches, own.updates, own.position) == (2, 2, 2)
        own.train(minibatches[2:])
        states.append(own.state_dict())
    for state in states[1:]:
        assert all(torch.equal(state[name], tensor) for name, tensor in states[0].items())


def test_a_loss_that_is_no_number_is_told_by_the_loaders_count() -> None:
    kind = small_models.Plain
    minibatches = loader(16, 13, 9)
    spoilt = [*minibatches[:2], (torch.full((9, *SHAPE[1:]), float("nan")), minibatches[2][1])]
    with (
        pipeline(kind, plan_for(kind, 2), update=PLAIN) as own,
        pytest.raises(RunError, match="the loss of minibatch 2 is no number"),
    ):
        own.train(spoilt)


def test_too_few_parts_to_keep_all_stages_busy_are_warned_of_once() -> None:
    kind = small_models.Plain
    with pipeline(kind, plan_for(kind, 4)) as own:
        with pytest.warns(TrainingWarning, match="of 16 samples are cut into 4: with 4 minibatches an upda"):
            own.train(loader(16, 16))
        with warnings.catch_warnings():
            warnings.simplefilter("error", TrainingWarning)
            own.train(loader(16))
    with pipeline(kind, plan_for(kind, 4)) as own, warnings.catch_warnings():
        warnings.simplefilter("error", TrainingWarning)
        own.train(loader(28))


def normed() -> nn.Module:
    """A batch norm that has one value of each channel in a sample."""
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 16), nn.BatchNorm1d(16), nn.Linear(16, small_models.CLASSES))


def test_a_minibatch_whose_parts_a_batch_norm_cannot_be_trained_on_is_refused_in_a_sentence() -> None:
    with pipeline(normed, plan_for(normed, 2)) as own:
        assert own.train(loader(5)).losses[0] is not None, "two parts, of three samples and two"
        with pytest.raises(InputError, match="have a single sample, and the batch norm 2 needs more than one"):
            own.train(loader(1))


def test_update_every_takes_whole_minibatches_together() -> None:
    kind = small_models.Plain
    with pipeline(kind, plan_for(kind, 2), update_every=3) as own:
        assert own.update_words == "an update takes 12 samples: 3 minibatches of 4"
        own.train(loader(4, 4, 2, 4, 4))
        assert (own.minibatches, own.updates) == (5, 2)
        with pytest.raises(InputError, match=r"the plan is for \(4, 3, 16, 16\) of torch.float32 or fewer samples"):
            own.train(loader(5))
