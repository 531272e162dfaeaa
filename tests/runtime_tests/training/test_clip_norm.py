"""Bound the norm of all gradients: as clip_grad_norm_ does in one process, bit for bit, where that norm exists."""

from collections.abc import Callable
from dataclasses import replace
from itertools import cycle

import pytest
import small_models
from pipelines import SETTINGS, captured_of, plan_of, random_bounds
from torch import nn
from trained import pipeline, plan_for

from optimizer.schedule import SCHEDULES, ScheduleName, pace_of
from profiler.errors import ConfigError
from profiler.settings import AdamW, UpdateRule
from runtime.pipeline import Execution
from runtime.results import CHANNELS, ChannelName
from runtime.supervisor import WorkerPool
from runtime.verify import verify

SYNCHRONOUS = [name for name, rule in SCHEDULES.items() if rule.synchronous]
BOUND = 0.3
"""Less than the norms of the small models' gradients."""


@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize(("schedule", "channel"), list(zip(SYNCHRONOUS, cycle(CHANNELS), strict=False)))
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


@pytest.mark.parametrize("schedule", sorted(set(SCHEDULES) - set(SYNCHRONOUS)))
def test_an_asynchronous_schedule_has_no_common_norm(schedule: ScheduleName) -> None:
    words = f"under {schedule} stages are at different minibatches"
    with pytest.raises(ConfigError, match=words):
        pipeline(small_models.Plain, plan_for(small_models.Plain, 2), update=AdamW(lr=0.1, clip_norm=1.0),
                 schedule=schedule)  # fmt: skip
