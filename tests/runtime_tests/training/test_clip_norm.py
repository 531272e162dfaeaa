"""Bound the norm of all gradients: as clip_grad_norm_ does in one process, bit for bit, where that norm exists."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import small_models
import torch
from pipelines import SETTINGS, build, captured_of, plan_of, random_bounds
from torch import nn
from trained import pairs, pipeline, plan_for

from optimizer.schedule import SCHEDULES, ScheduleName, pace_of
from profiler.errors import ConfigError
from profiler.execution import norm_scale
from profiler.settings import SGD, AdamW, UpdateRule
from runtime.pipeline import Execution
from runtime.results import CHANNELS, ChannelName
from runtime.supervisor import WorkerPool
from runtime.verify import verify

SYNCHRONOUS = [name for name, rule in SCHEDULES.items() if rule.synchronous]
BOUND = 0.3
"""Less than the norms of the small models' gradients."""


@pytest.mark.parametrize("bound", [0.1, 1e3])
def test_the_scale_is_torchs_bit_for_bit(bound: float) -> None:
    drawn = torch.Generator().manual_seed(4)
    holders = [nn.Parameter(torch.zeros(size)) for size in (1, 7, 4096, 33, 100_000)]
    for holder in holders:
        holder.grad = torch.randn(holder.shape, generator=drawn)
    before = [holder.grad.clone() for holder in holders if holder.grad is not None]
    scale = norm_scale([torch.linalg.vector_norm(gradient) for gradient in before], bound)
    nn.utils.clip_grad_norm_(holders, bound)
    for holder, gradient in zip(holders, before, strict=True):
        assert holder.grad is not None
        assert torch.equal(holder.grad, gradient * scale)


@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("schedule", SYNCHRONOUS)
@pytest.mark.parametrize("kind", [small_models.Residual, small_models.frozen_stem])
def test_stages_scale_their_gradients_by_the_norm_of_all(
    four_workers: WorkerPool, kind: Callable[[], nn.Module], schedule: ScheduleName, channel: ChannelName
) -> None:
    rule = UpdateRule(lr=0.05, momentum=0.9, clip_norm=BOUND)
    setting = replace(SETTINGS, rule=rule, pace=pace_of(schedule, 4, 3), channel=channel)  # the last round is not full
    captured = captured_of(kind)
    with Execution(captured, four_workers, setting) as execution:
        plan = plan_of(captured, random_bounds(captured, 4))
        found = verify("chosen", plan, execution, 5, lambda: None)
        unbounded = replace(execution.settings, rule=replace(rule, clip_norm=0.0))
        execution.settings = unbounded
        other = verify("chosen", plan, execution, 5, lambda: None)
    assert found.first_difference is None
    assert found.digests.weights != other.digests.weights


@pytest.mark.usefixtures("kept_workers", "pinned_process")
@pytest.mark.parametrize("schedule", ["zero-bubble", "1f1b-flush"])
def test_a_chain_trains_as_the_loop_that_anyone_would_write(schedule: ScheduleName) -> None:
    """With whole rounds, and a last one that is not; a loader's length is not known to the stages."""
    part, every = pairs(7), 3
    rule = SGD(lr=0.1, clip_norm=BOUND)
    plan = plan_for(small_models.Plain, 2)
    with pipeline(small_models.Plain, plan, update=rule, schedule=schedule, update_every=every) as own:
        losses = own.train(iter(part)).losses
        state = own.state_dict()
    model = build(small_models.Plain)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, foreach=False)
    plain = []
    for first in range(0, len(part), every):
        group = part[first : first + every]
        for inputs, targets in group:
            loss = nn.functional.cross_entropy(model(inputs), targets)
            plain.append(loss.item())
            torch.autograd.backward(loss, torch.tensor(1 / len(group)))
        assert nn.utils.clip_grad_norm_(model.parameters(), BOUND) > BOUND
        sgd.step()
        sgd.zero_grad()
    assert list(losses) == plain
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("schedule", sorted(set(SCHEDULES) - set(SYNCHRONOUS)))
def test_an_asynchronous_schedule_has_no_common_norm(schedule: ScheduleName) -> None:
    words = f"under {schedule} stages are at different minibatches"
    with pytest.raises(ConfigError, match=words):
        pipeline(small_models.Plain, plan_for(small_models.Plain, 2), update=AdamW(lr=0.1, clip_norm=1.0),
                 schedule=schedule)  # fmt: skip
