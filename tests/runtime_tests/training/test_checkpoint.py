"""Checkpoints: whatever goes on from one trains what a replay of the parts trains, each under its own split."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small_models
import torch
from pipelines import RULE, SHAPE, build, captured_of, plan_of
from replay import Replay
from torch import nn
from trained import as_fed, assert_same, pairs, pipeline, plan_for, replay_of

from optimizer.schedule import ScheduleName, pace_of
from profiler.capture import sliced_model
from profiler.errors import FileError
from profiler.profile import Slicing
from profiler.settings import AdamW
from runtime.errors import InputError
from runtime.training import Pipeline, Steps

pytestmark = pytest.mark.usefixtures("pinned_process", "kept_workers")

SHARING: dict[ScheduleName, int | None] = {"1f1b": None, "zero-bubble": 4, "1f1b-flush": 2, "gpipe": 3}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", [small_models.Residual, small_models.Tied])
def test_going_on_under_any_split_schedule_precision_and_channel_equals_the_replay_of_the_parts(
    tmp_path: Path, kind: Callable[[], nn.Module], seed: int
) -> None:
    drawn = random.Random(f"{kind.__name__} {seed}")  # noqa: S311 - any will do
    path = tmp_path / "run.ckpt"
    replay: Replay | None = None
    for number in range(3):
        schedule = drawn.choice(list(SHARING))
        stages, count = drawn.randint(1, 4 if kind is small_models.Residual else 3), drawn.randint(1, 9)
        plan = plan_for(kind, stages, precision=drawn.choice(["fp32", "bf16"]))
        part = pairs(count, seed=number, last=drawn.randint(1, SHAPE[0]))
        options: dict[str, Any] = {"schedule": schedule, "update_every": SHARING[schedule]}
        options["channel"] = drawn.choice(["shm", "gloo"])
        replay_before, replay = replay, replay_of(kind, plan, pace_of(schedule, stages, SHARING[schedule]))
        if replay_before:
            replay.go_on_from(replay_before)
        with pipeline(kind, plan, **options) as trained:
            if replay_before:
                trained.resume(path)
            trained.train(part)
            trained.save(path)
            replay.part(as_fed(part))
            assert_same(trained.state_dict(), replay)


@pytest.mark.parametrize("entered", [False, True])
def test_the_state_of_every_generator_comes_back_and_so_do_the_counts(tmp_path: Path, *, entered: bool) -> None:
    kind, path = small_models.Plain, tmp_path / "folder" / "run.ckpt"
    plan = plan_for(kind, 2)
    with pipeline(kind, plan, update=AdamW(lr=0.1)) as trained:
        trained.train(pairs(3))
        trained.epoch = 2
        trained.save(path)
        drawn = torch.rand(3), random.random()  # noqa: S311
        trained.train(pairs(2, seed=2))
    again = pipeline(kind, plan_for(kind, 3), update=AdamW(lr=0.1))
    if not entered:
        again.resume(path)
        assert torch.equal(torch.rand(3), drawn[0])
        assert random.random() == drawn[1]  # noqa: S311
    with again:
        if entered:
            again.resume(path)
        assert (again.minibatches, again.updates, again.epoch, again.position) == (3, 3, 2, 3)
        again.train(pairs(2, seed=2))
    assert again.updates == 5


def test_a_sliced_model_goes_on_whole_and_the_other_way_round(tmp_path: Path) -> None:
    """With no pipelining at all, so that both train one thing up to the order of a sum."""
    kind, path = small_models.Plain, tmp_path / "run.ckpt"
    inside = plan_of(sliced_model(captured_of(kind), Slicing("layers.1=3+13")), None, 2)
    states = []
    for plans in ((inside, plan_for(kind, 2), inside), (plan_for(kind, 2),) * 3):
        path.unlink(missing_ok=True)
        for number, plan in enumerate(plans):
            with pipeline(kind, plan, schedule="1f1b-flush", update_every=1, update=AdamW(lr=0.01)) as trained:
                if number:
                    trained.resume(path)
                trained.train(pairs(3, seed=number))
                trained.save(path)
        states.append(trained.state_dict())
    for key, tensor in states[0].items():
        assert torch.allclose(tensor, states[1][key], rtol=1e-4, atol=1e-6), key


def test_a_run_goes_on_under_another_learning_rate_as_if_that_had_been_its_schedule(tmp_path: Path) -> None:
    kind, path = small_models.Plain, tmp_path / "run.ckpt"
    rates = Steps(RULE.lr, every=3, factor=0.2)
    with pipeline(kind, plan_for(kind, 2), learning_rate=rates) as whole:
        whole.train(pairs(3))
        whole.train(pairs(2, seed=2))
    with pipeline(kind, plan_for(kind, 2)) as first:
        first.train(pairs(3))
        first.save(path)
    with pipeline(kind, plan_for(kind, 2), update=replace(RULE, lr=RULE.lr * 0.2)) as second:
        second.resume(path)
        second.train(pairs(2, seed=2))
    assert all(torch.equal(tensor, second.state_dict()[key]) for key, tensor in whole.state_dict().items())


def kept(path: Path, **options: Any) -> Path:
    with pipeline(small_models.Plain, plan_for(small_models.Plain, 2), **options) as trained:
        trained.train(pairs(2))
        trained.save(path)
    return path


def test_checkpoints_that_cannot_be_used_are_refused_and_nothing_changes(tmp_path: Path) -> None:
    path = kept(tmp_path / "run.ckpt")
    whole = path.read_bytes()
    torn, old, other, code, odd = (tmp_path / name for name in ("torn", "old", "weights.pt", "code", "odd"))
    torn.write_bytes(whole[: len(whole) // 2])
    torch.save(torch.load(path, weights_only=True) | {"format_version": 0}, old)
    torch.save(build(small_models.Plain).state_dict(), other)
    torch.save(print, code)
    torch.save(torch.load(path, weights_only=True) | {"momenta": None}, odd)
    trained = pipeline(small_models.Plain, plan_for(small_models.Plain, 3))
    before = {key: tensor.clone() for key, tensor in trained.state_dict().items()}
    for file, words in (
        (torn, "is no whole checkpoint"),
        (old, "is a checkpoint of format 0, and this version reads format 2"),
        (other, "is no checkpoint, though torch can read it"),
        (code, "is no whole checkpoint \\(UnpicklingError\\)"),
        (tmp_path / "nowhere", "cannot read .*nowhere: No such file"),
        (tmp_path, "cannot read"),
    ):
        with pytest.raises(FileError, match=words):
            trained.resume(file)
    with pytest.raises(InputError, match=r"odd is no checkpoint of this model \(.*NoneType.*\); name one that"):
        trained.resume(odd)
    with pytest.raises(InputError, match="was trained with sgd with momentum and this is adamw"):
        pipeline(small_models.Plain, plan_for(small_models.Plain, 2), update=AdamW(lr=0.1)).resume(path)
    with pytest.raises(InputError, match="is a checkpoint of another model than this"):
        pipeline(small_models.Residual, plan_for(small_models.Residual, 2)).resume(path)
    with pytest.raises(InputError, match="was trained with seed 3 and this has 4"):
        Pipeline(build(small_models.Plain), plan_for(small_models.Plain, 2), update=RULE, seed=4).resume(path)
    assert all(torch.equal(tensor, before[key]) for key, tensor in trained.state_dict().items())
