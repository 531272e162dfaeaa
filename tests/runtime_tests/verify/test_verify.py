"""Every schedule and channel against replays in one process: ours, a second one, and plain torch on the uncut model."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import msgspec
import pytest
import small_models
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipelines import MINIBATCHES, RULE, SEED, SETTINGS, SHAPE, build, captured_of, plan_of, random_bounds, verified
from replay import Replay, stages_of_calls
from torch import Tensor, nn

from optimizer.schedule import SCHEDULES, ScheduleName, pace_of
from profiler.capture import laid_out
from profiler.capture.layer_graph import capture
from profiler.execution import Captured, layer_seed
from profiler.settings import UpdateRule
from runtime.cli import main as cli
from runtime.pipeline import Execution
from runtime.pipeline.stage_segments import slices
from runtime.results import CHANNELS, ChannelName, Verification
from runtime.supervisor import WorkerPool
from runtime.verify import bit_identity as verification
from runtime.verify.replay import Replay as Ours
from runtime.worker import Settings, data


@pytest.mark.slow
@pytest.mark.usefixtures("pinned_process")
@settings(deadline=None, max_examples=16, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    schedule=st.sampled_from(list(SCHEDULES)),
    channel=st.sampled_from(CHANNELS),
    every=st.integers(1, 4),
    minibatches=st.integers(1, 12),
    seed=st.integers(0, 20),
    rule=st.sampled_from([RULE, UpdateRule(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
                          UpdateRule(name="adam", lr=0.01), UpdateRule(name="adamw", lr=0.01, weight_decay=0.1)]),
)  # fmt: skip
def test_random_sleeps_in_stages_never_change_a_bit(  # noqa: PLR0917
    four_workers: WorkerPool,
    schedule: ScheduleName,
    channel: ChannelName,
    every: int,
    minibatches: int,
    seed: int,
    rule: UpdateRule,
) -> None:
    setting = replace(SETTINGS, pace=pace_of(schedule, 4, every), channel=channel, rule=rule)
    captured = captured_of(small_models.Delayed)
    plan = plan_of(captured, random_bounds(captured, seed))
    found = verified(captured, four_workers, plan, setting, minibatches)
    assert found.first_difference is None
    assert found.identical
    assert found.digests == found.replay_digests


@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_second_replay_agrees_in_every_digest(
    four_workers: WorkerPool, schedule: ScheduleName, channel: ChannelName
) -> None:
    captured = captured_of(small_models.Residual)
    plan = plan_of(captured, random_bounds(captured, len(schedule) + len(channel)))
    crossing = [tuple(spec.name for spec in own.sends) for own in slices(captured, plan)]
    assert crossing == [stage.boundary for stage in plan.stages], "the planner sees the same boundary"
    setting = replace(SETTINGS, pace=pace_of(schedule, 4, 3), channel=channel)
    found = verified(captured, four_workers, plan, setting)
    model = build(small_models.Residual)
    stage_of = stages_of_calls(captured, plan, model)
    second = Replay(model, stage_of, SEED, lr=RULE.lr, momentum=RULE.momentum, pace=setting.pace)
    second.run(MINIBATCHES, SHAPE, small_models.CLASSES)
    weights = second.versions[-1]
    assert found.identical
    assert found.digests.losses == sha256([torch.tensor(second.losses, dtype=torch.float64)])
    assert found.digests.weights == sha256([weights[name] for name, _ in model.named_parameters()])
    assert found.digests.buffers == sha256([buffer for _, buffer in second.model.named_buffers()])


def renamed() -> nn.Module:
    """What is overwritten has another name since it was made: a cut may lie between the two."""
    last = nn.Linear(4 * 14 * 14, small_models.CLASSES)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Identity(), nn.ReLU(inplace=True), nn.Flatten(), last)


@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize("cut", range(1, 5))
def test_what_another_stage_made_is_overwritten_in_a_copy_whatever_its_name(
    workers: Callable[[int], WorkerPool], cut: int
) -> None:
    captured = captured_of(renamed)
    plan = plan_of(captured, [0, (1 << cut) - 1, (1 << len(captured.layer_names)) - 1], 2)
    found = verified(captured, workers(2), plan)
    assert found.first_difference is None
    assert found.identical


def sha256(tensors: list[Tensor]) -> str:
    """As another program works it out: row-major elements, one tensor after the other."""
    return hashlib.sha256(b"".join(tensor.contiguous().numpy().tobytes() for tensor in tensors)).hexdigest()


def uncut(model: nn.Module, captured: Captured, shape: tuple[int, ...], minibatches: int, every: int) -> list[float]:
    """Train the model as it is, with torch's own SGD, one update every so many minibatches; return the losses."""
    minibatch = 0
    orders = {operation.name: operation.index for operation in captured.operations}

    def seed(index: int) -> Callable[..., None]:
        def before(*_: object) -> None:
            torch.manual_seed(layer_seed(SEED, index, minibatch))

        return before

    for name, module in model.named_modules():
        if name in orders and not list(module.children()):
            module.register_forward_pre_hook(seed(orders[name]))
    sgd = torch.optim.SGD(model.parameters(), lr=RULE.lr, foreach=False)
    losses = []
    for minibatch in range(minibatches):
        first = minibatch // every * every
        share = 1 / len(range(first, min(first + every, minibatches)))
        labels = data.targets(SEED, minibatch, shape[:1], captured.classes)
        loss = nn.functional.cross_entropy(model(data.inputs(SEED, minibatch, shape)), labels)
        losses.append(loss.item())
        torch.autograd.backward(loss, torch.tensor(share))
        if minibatch == minibatches - 1 or (minibatch + 1) % every == 0:
            sgd.step()
            sgd.zero_grad()
    return losses


@pytest.mark.slow
@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize(
    ("name", "schedule"),
    [("alexnet", "gpipe"), ("resnet50", "zero-bubble"), ("vgg16", "1f1b-flush")],
)
def test_a_flush_trains_what_the_uncut_model_trains_bit_for_bit(
    four_workers: WorkerPool, name: str, schedule: ScheduleName
) -> None:
    shape = (2, 3, 64, 64)

    def made() -> nn.Module:
        torch.manual_seed(5)
        model: nn.Module = getattr(torchvision.models, name)(num_classes=7)
        return model.train().to(memory_format=torch.channels_last)

    captured = capture(made(), name, laid_out(torch.zeros(shape)))
    setting = Settings(rule=UpdateRule(lr=RULE.lr), seed=SEED, pace=pace_of(schedule, 4, 2))
    plan = plan_of(captured, None)
    with Execution(captured, four_workers, setting) as execution, execution.loaded(plan, 3) as loaded:
        losses = loaded.run_loaded().result.losses
        state = loaded.state_dict()
    model = made()
    assert list(losses) == uncut(model, captured, shape, 3, setting.pace.update_every)
    for path, tensor in [*model.named_parameters(), *model.named_buffers()]:
        assert torch.equal(state[path], tensor), path


@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize(("schedule", "channel"), list(zip(SCHEDULES, cycle(CHANNELS), strict=False)))
def test_a_gradient_that_is_a_view_of_what_was_received_outlives_its_slot(
    four_workers: WorkerPool, schedule: ScheduleName, channel: ChannelName
) -> None:
    captured = capture(build(small_models.ClassToken), "token", laid_out(torch.zeros(1, *SHAPE[1:])))
    assert captured.layer_names[:3] in (("flatten", "expand", "cat"), ("expand", "flatten", "cat"))
    plan = plan_of(captured, (0, 0b000111, 0b001111, 0b011111, 0b111111))
    setting = replace(SETTINGS, pace=pace_of(schedule, 4, 4), channel=channel)
    assert verified(captured, four_workers, plan, setting, 9).first_difference is None


@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize(("schedule", "channel"), [("1f1b", "gloo"), ("1f1b-flush", "shm")])
def test_a_smaller_last_minibatch_of_a_loader_trains_as_its_replay_does(
    four_workers: WorkerPool, schedule: ScheduleName, channel: ChannelName
) -> None:
    setting = replace(SETTINGS, data="loaders:dataset", pace=pace_of(schedule, 4, 2), channel=channel)
    captured = captured_of(small_models.Residual)
    found = verified(captured, four_workers, plan_of(captured, random_bounds(captured, 3)), setting, 3)
    assert found.first_difference is None


@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rule": replace(RULE, lr=0.06)}, "minibatch 1: the loss is "),
        ({"state": "conv1.weight"}, "minibatch 0: the loss is "),
        ({"state": "stem_norm.running_var"}, "after the last minibatch: stem_norm.running_var differs"),
    ],
)
def test_the_first_difference_is_named(
    four_workers: WorkerPool, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], words: str
) -> None:
    """The replay starts from, or trains by, something else than the pipeline."""

    def tampered(
        captured: Captured, stage_of: Any, state: dict[str, Tensor], rule: UpdateRule, recurrence: Any
    ) -> Ours:
        if "state" in change:
            state[change["state"]].view(-1)[0] += 1
        return Ours(captured, stage_of, state, change.get("rule", rule), recurrence)

    monkeypatch.setattr(verification, "Replay", tampered)
    captured = captured_of(small_models.Residual)
    found = verified(captured, four_workers, plan_of(captured, random_bounds(captured, 0)))
    assert not found.identical
    assert found.first_difference is not None
    assert found.first_difference.startswith(words)
    assert found.digests != found.replay_digests


@pytest.mark.slow
def test_the_command_says_that_all_partitions_are_bit_identical(
    in_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ["--model", "small_models:Residual", "--batch-size", "4", "--image-size", "16", "--stages", "3"]
    assert cli.main(["verify", *small, "--slice", "fc=2,conv1=3", "--batches", "5", "--channel", "gloo"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("bit-identical: losses, weights, buffers") == 8
    small += ["--slice", "none"]
    arguments = ["verify", *small, "--batches", "5", "--schedule", "gpipe", "--partition", "end-load", "--json"]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed)["partitions"][0]["identical"] is True
    found = msgspec.json.decode(printed, type=Verification)
    assert (found.schedule, found.update_every, found.minibatches) == ("gpipe", 8, 5)
    assert [part.name for part in found.partitions] == ["end-load"]

    def other_rule(captured: Captured, stage_of: Any, state: Any, rule: UpdateRule, recurrence: Any) -> Ours:
        return Ours(captured, stage_of, state, replace(rule, lr=1.0), recurrence)

    monkeypatch.setattr(verification, "Replay", other_rule)
    assert cli.main(arguments[:-1]) == 1
    assert "DIFFERS: " in capsys.readouterr().out
    assert {path.name for path in in_folder.iterdir()} == {"profiles"}
