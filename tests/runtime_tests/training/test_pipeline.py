"""A pipeline over a model in memory: it trains what a single-process replay trains, and hands the weights back."""

import math
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import small_models
import torch
from pipelines import SHAPE, build
from torch import Tensor, nn
from trained import Pairs, as_fed, assert_same, pairs, pipeline, plan_for, replay_of

from optimizer.schedule import Pace, ScheduleName, pace_of
from profiler.errors import CaptureError, ModelError
from runtime.errors import InputError, RunError
from runtime.training import Pipeline

pytestmark = pytest.mark.usefixtures("pinned_process", "kept_workers")


@pytest.mark.parametrize(
    ("kind", "stages", "schedule", "every"),
    [
        (small_models.Residual, 4, "1f1b", None),
        (small_models.Residual, 2, "1f1b-flush", 3),
        (small_models.Heads, 3, "1f1b", None),
        (small_models.Residual, 2, "gpipe", 3),
        (small_models.Tied, 2, "1f1b", None),
        (small_models.Stateful, 2, "1f1b", None),
        (small_models.LastInPlace, 2, "1f1b", None),
        (small_models.Residual, 3, "zero-bubble", 3),
        (small_models.Tied, 2, "zero-bubble", 3),
    ],
)
def test_what_is_trained_part_by_part_equals_the_replay_and_evaluating_changes_nothing(
    kind: Callable[[], nn.Module], stages: int, schedule: ScheduleName, every: int | None
) -> None:
    plan, parts = plan_for(kind, stages), (pairs(5, last=3), pairs(1, seed=2), pairs(7, seed=3))
    replay = replay_of(kind, plan, pace_of(schedule, stages, every))
    losses: list[float | None] = []
    with pipeline(kind, plan, schedule=schedule, update_every=every) as trained:
        before = trained.evaluate(parts[0])
        for part in parts:
            result = trained.train(iter(part))
            losses += result.losses
            assert result.samples == sum(len(inputs) for inputs, _ in part)
            assert result.minibatches == len(part)
            trained.evaluate(part)
            replay.part(as_fed(part))
        assert trained.minibatches == 13
        assert losses == replay.losses
        assert_same(trained.state_dict(), replay)
        assert before != trained.evaluate(parts[0], lambda output, _: first_head(output).sum())
    assert_same(trained.state_dict(), replay)


def first_head(output: Any) -> Tensor:
    head: Tensor = output[0] if isinstance(output, tuple) else output
    return head


def test_evaluation_is_the_plain_model_bit_for_bit_in_minibatches_of_any_size() -> None:
    kind = small_models.Residual
    sizes: Pairs = [pairs(1)[0], (torch.randn(9, *SHAPE[1:]), torch.zeros(9, dtype=torch.int64)), pairs(1, last=1)[0]]
    outputs: list[Tensor] = []

    def kept(output: Tensor, targets: Tensor) -> Tensor:
        outputs.append(output)
        return torch.ones(len(targets))

    with pipeline(kind, plan_for(kind, 2)) as trained:
        trained.train(pairs(3))
        drawn = torch.get_rng_state(), random.getstate()
        assert trained.evaluate(sizes, kept) == 1.0
        assert torch.equal(torch.get_rng_state(), drawn[0])
        assert random.getstate() == drawn[1]
    plain = build(kind)
    plain.load_state_dict(trained.state_dict())
    plain.eval()
    with torch.inference_mode():
        assert all(torch.equal(output, plain(inputs)) for output, (inputs, _) in zip(outputs, sizes, strict=True))


def test_the_model_is_left_as_it_was_and_so_are_the_generators() -> None:
    model = build(small_models.Residual).eval()
    model.get_submodule("fc").train()
    before = {name: (id(tensor), tensor.clone()) for name, tensor in model.state_dict(keep_vars=True).items()}
    modes = [module.training for module in model.modules()]
    with Pipeline(model, plan_for(small_models.Residual, 2)) as trained:
        trained.train(pairs(2))
        trained.state_dict()
    after = model.state_dict(keep_vars=True)
    assert modes == [module.training for module in model.modules()]
    for name, (identity, value) in before.items():
        assert id(after[name]) == identity
        assert torch.equal(after[name], value)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_weights_can_be_put_in_and_momenta_stay() -> None:
    kind = small_models.Tied
    plan = plan_for(kind, 2)
    replay = replay_of(kind, plan)
    torch.manual_seed(5)
    other = kind()
    with pipeline(kind, plan, schedule="1f1b") as trained:
        trained.train(pairs(3))
        replay.part(as_fed(pairs(3)))
        trained.load_state_dict(other.state_dict())
        replay.versions.append({name: weight.detach().clone() for name, weight in other.named_parameters()})
        trained.train(pairs(4, seed=2))
        replay.part(as_fed(pairs(4, seed=2)))
        assert_same(trained.state_dict(), replay)
        with pytest.raises(InputError, match=r"the state_dict does not fit .*Missing key"):
            trained.load_state_dict({})


def test_a_loader_may_be_empty_longer_or_shorter_than_wanted_and_one_that_does_not_fit_is_refused() -> None:
    kind, part = small_models.Residual, pairs(6)
    with pipeline(kind, plan_for(kind, 3), schedule="1f1b") as trained:
        with pytest.raises(InputError, match="hold no minibatch"):
            trained.train([])
        assert trained.train(part, minibatches=9).minibatches == 6
        assert trained.train(iter(part), minibatches=2).minibatches == 2
        assert trained.last is not None
        with pytest.raises(InputError, match="cannot be evaluated on the loader: RuntimeError"):
            trained.evaluate([(torch.randn(2, 5), torch.zeros(2))])


def test_a_pipeline_runs_the_schedule_of_its_plan_unless_told_otherwise() -> None:
    kind = small_models.Plain
    plan = replace(plan_for(kind, 2), schedule="gpipe", update_every=3)
    assert pipeline(kind, plan)._settings.pace == Pace("gpipe", 3)
    assert pipeline(kind, plan, update_every=4)._settings.pace == Pace("gpipe", 4)
    assert pipeline(kind, plan, schedule="1f1b")._settings.pace == Pace("1f1b", 1)
    with pytest.raises(InputError, match="update_every=3 says nothing to 1f1b, which updates after each minib"):
        pipeline(kind, plan, schedule="1f1b", update_every=3)


@pytest.mark.parametrize(
    ("schedule", "pressed_at", "trained_on"),
    [
        ("1f1b", 5, 6),  # the one that was being read is the last
        ("zero-bubble", 4, 8),  # the update that was being read for is complete
        ("zero-bubble", 6, 8),
    ],
)
def test_ctrl_c_ends_with_an_update_and_loses_nothing(schedule: ScheduleName, pressed_at: int, trained_on: int) -> None:
    kind = small_models.Residual
    plan, part = plan_for(kind, 2), pairs(40)
    replay = replay_of(kind, plan, pace_of(schedule, 2, 4))

    def pressed() -> Iterator[tuple[Tensor, Tensor]]:
        for number, pair in enumerate(part):
            if number == pressed_at:
                os.kill(os.getpid(), signal.SIGINT)
            yield pair

    with pipeline(kind, plan, schedule=schedule, update_every=None if schedule == "1f1b" else 4) as trained:
        with pytest.raises(KeyboardInterrupt):
            trained.train(pressed())
        assert trained.minibatches == trained_on
        replay.part(as_fed(part[:trained_on]))
        assert_same(trained.state_dict(), replay)
        trained.train(part[9:12])
    replay.part(as_fed(part[9:12]))
    assert_same(trained.state_dict(), replay)


def per_sample(output: Tensor, targets: Tensor) -> Tensor:
    return (output - targets).square().mean(1)


def real_pairs(count: int) -> Pairs:
    return [(inputs, torch.randn(len(inputs), small_models.CLASSES)) for inputs, _ in pairs(count)]


@pytest.mark.slow
def test_losses_that_cannot_be_used_are_refused() -> None:
    kind = small_models.Plain
    plan = plan_for(kind, 2)
    with pytest.raises(CaptureError, match=r"the loss cannot be sent to the process of a stage: .*lambda"):
        pipeline(kind, plan, loss=lambda output, _: output.mean())
    with (
        pipeline(kind, plan, loss=per_sample) as trained,
        pytest.raises(InputError, match=r"per_sample returned a tensor of shape \(4,\); it has to return one number"),
    ):
        trained.train(real_pairs(3))
    with pytest.raises(RunError, match="entered once"), trained:
        pass


def test_who_watches_sees_losses_that_were() -> None:
    kind, seen = small_models.Residual, list[float]()
    with pipeline(kind, plan_for(kind, 2), watch=lambda stages: seen.append(stages[-1].loss)) as trained:
        losses = trained.train(pairs(9)).losses
    known = [loss for loss in seen if not math.isnan(loss)]
    assert seen, "it was called"
    assert known == sorted(known, key=losses.index), "in their order, and no others"


def test_models_that_cannot_be_used_are_refused_before_a_process_starts() -> None:
    plan = plan_for(small_models.Plain, 2)
    with (
        pytest.raises(InputError, match=r"the plan is for .* whose layers are not those of this"),
        pipeline(small_models.Residual, plan) as trained,
    ):
        trained.train(pairs(1))
    with pytest.raises(ModelError, match=r"layers.1.weight is on meta; stages run on the CPU"):
        Pipeline(small_models.Plain().to("meta"), plan)
    with pytest.raises(RunError, match="train needs the stage processes; use the pipeline in a with statement"):
        pipeline(small_models.Plain, plan).train(pairs(1))


def test_two_threads_cannot_use_one_pipeline_at_once() -> None:
    kind = small_models.Plain
    said: list[str] = []

    def from_a_thread() -> None:
        try:
            trained.evaluate(pairs(1))
        except RunError as error:
            said.append(str(error))

    def loader() -> Iterator[tuple[Tensor, Tensor]]:
        yield pairs(1)[0]
        thread = threading.Thread(target=from_a_thread)
        thread.start()
        thread.join()

    with pipeline(kind, plan_for(kind, 2)) as trained:
        trained.train(loader())
    (sentence,) = said
    assert "evaluate cannot run while another thread uses this pipeline" in sentence
