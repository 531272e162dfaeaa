"""Sliced models in the pipeline: bit for bit their replay, whatever the cuts; the uncut model within rounding."""

import math
from dataclasses import replace

import pytest
import small_models
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipelines import RULE, SEED, SETTINGS, captured_of, plan_of, random_bounds, verified
from torch import Tensor, nn

from optimizer.schedule import SCHEDULES, Pace, ScheduleName, pace_of
from profiler.capture import laid_out, sliceable, sliced_model
from profiler.capture.layer_graph import capture
from profiler.execution import Captured
from profiler.profile import Slicing
from profiler.settings import UpdateRule
from runtime.pipeline import Execution
from runtime.results import CHANNELS, ChannelName
from runtime.supervisor import WorkerPool
from runtime.worker import Settings

MOST_OFF = 1e-2
"""By which share of what a tensor moved in training it may be elsewhere."""
KINDS = [small_models.Residual, small_models.Tied, small_models.Heads, small_models.LastInPlace]


def sliced_of(kind: type[nn.Module], draw: st.DataObject) -> Captured:
    captured = captured_of(kind)
    can = {name: features for name, (features, reason) in sliceable(captured).items() if not reason}
    layers = draw.draw(st.lists(st.sampled_from(list(can)), min_size=1, max_size=2, unique=True))
    counts = {layer: draw.draw(st.integers(2, min(4, can[layer]))) for layer in layers}
    return sliced_model(captured, Slicing(",".join(f"{layer}={count}" for layer, count in counts.items())))


@pytest.mark.usefixtures("pinned_process")
@settings(deadline=None, max_examples=14, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(KINDS),
    schedule=st.sampled_from(list(SCHEDULES)),
    channel=st.sampled_from(CHANNELS),
    seed=st.integers(0, 50),
    rule=st.sampled_from([RULE, UpdateRule(name="adamw", lr=0.01, weight_decay=0.1)]),
    draw=st.data(),
)
def test_any_slicing_trains_what_its_replay_does_wherever_the_cuts_fall(  # noqa: PLR0917
    four_workers: WorkerPool,
    kind: type[nn.Module],
    schedule: ScheduleName,
    channel: ChannelName,
    seed: int,
    rule: UpdateRule,
    draw: st.DataObject,
) -> None:
    sliced = sliced_of(kind, draw)
    setting = replace(SETTINGS, pace=pace_of(schedule, 4, 2), channel=channel, rule=rule)
    plan = plan_of(sliced, random_bounds(sliced, seed))
    assert verified(sliced, four_workers, plan, setting).first_difference is None


def trained(
    captured: Captured, pool: WorkerPool, seed: int | None, setting: Settings
) -> tuple[list[float], dict[str, Tensor]]:
    """Train a split drawn from ``seed`` with a flush, which gives every split the same weights in every minibatch."""
    plan = plan_of(captured, None if seed is None else random_bounds(captured, seed))
    with Execution(captured, pool, setting) as execution, execution.loaded(plan, 6) as loaded:
        losses = [loss if loss is not None else math.nan for loss in loaded.run_loaded().result.losses]
        return losses, loaded.state_dict()


@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize("slicing", ["conv1=4", "shortcut=1+5+2,conv1=2", "fc=2,stem=4"])
def test_every_split_of_one_sliced_model_trains_the_same_bits(four_workers: WorkerPool, slicing: str) -> None:
    sliced = sliced_model(captured_of(small_models.Residual), Slicing(slicing))
    setting = replace(SETTINGS, pace=Pace("1f1b-flush", 2))
    first, weights = trained(sliced, four_workers, 0, setting)
    for seed in (1, 2, 3, 4):
        losses, others = trained(sliced, four_workers, seed, setting)
        assert losses == first
        assert all(torch.equal(others[path], tensor) for path, tensor in weights.items())


@pytest.mark.usefixtures("pinned_process")
def test_a_sliced_model_trains_what_the_uncut_one_does_within_rounding(four_workers: WorkerPool) -> None:
    """Sums of gradients are added in another order: a few units in the last place of each, which training makes grow.

    Six minibatches of two samples are the worst case for that: batch norm divides by their small variance.
    """
    torch.manual_seed(5)
    model: nn.Module = torchvision.models.resnet18(num_classes=7).train().to(memory_format=torch.channels_last)
    before = {path: parameter.detach().clone() for path, parameter in model.named_parameters()}
    captured = capture(model, "resnet18", laid_out(torch.zeros(2, 3, 64, 64)))
    setting = Settings(rule=UpdateRule(lr=0.001, momentum=0.9), seed=SEED, pace=Pace("1f1b-flush", 2))
    losses, weights = trained(captured, four_workers, None, setting)
    sliced = sliced_model(captured, Slicing("conv1=2,layer1.0.conv2=4,layer2.0.downsample.0=2,fc=2"))
    others, rows = trained(sliced, four_workers, None, setting)
    assert others == pytest.approx(losses, rel=1e-4)
    for path, parameter in sliced.model.named_parameters():
        parameter.data = rows[path].clone()
    state = sliced.model.state_dict()
    for path, initial in before.items():
        moved = (weights[path] - initial).norm()
        off = (state[path] - weights[path]).norm()
        assert off <= MOST_OFF * moved, path
