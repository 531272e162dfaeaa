"""Pipelines in bfloat16 train as one process does that autocasts, bit for bit."""

from dataclasses import replace

import pytest
import small_models
from pipelines import SETTINGS, SHAPE, captured_of, plan_of, random_bounds, verified
from torch import nn

from optimizer.schedule import SCHEDULES, ScheduleName, pace_of
from profiler.capture import sliced_model
from profiler.profile import BF16, Slicing
from runtime.pipeline.stage_segments import slices
from runtime.results import ChannelName
from runtime.supervisor import WorkerPool

STAGES = 4


def wide() -> nn.Module:
    """A network whose second layer's weight is large enough for a place of its own."""
    features = SHAPE[1] * SHAPE[2] * SHAPE[3]
    return nn.Sequential(
        nn.Flatten(), nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, 5000), nn.ReLU(),
        nn.Linear(5000, 80), nn.ReLU(),
        nn.Linear(80, small_models.CLASSES),
    )  # fmt: skip


@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_residual_block_cut_anywhere_is_replayed_bit_for_bit(
    four_workers: WorkerPool, schedule: ScheduleName
) -> None:
    captured = captured_of(small_models.Residual, "bf16")
    settings = replace(SETTINGS, pace=pace_of(schedule, STAGES, None))
    for seed in range(2):
        plan = plan_of(captured, random_bounds(captured, seed))
        assert verified(captured, four_workers, plan, settings, 9).first_difference is None


@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize(
    ("schedule", "channel", "slicing"),
    [("1f1b", "shm", ""), ("zero-bubble", "shm", "3=3"), ("1f1b-flush", "gloo", "3=3")],
)
def test_large_linear_layers_are_replayed_bit_for_bit(
    four_workers: WorkerPool, schedule: ScheduleName, channel: ChannelName, slicing: str
) -> None:
    captured = sliced_model(captured_of(wide, "bf16"), Slicing(slicing))
    settings = replace(SETTINGS, channel=channel, pace=pace_of(schedule, STAGES, None))
    assert verified(captured, four_workers, plan_of(captured, None), settings, 11).first_difference is None


def test_half_the_bytes_cross_a_cut() -> None:
    whole, lower = (captured_of(small_models.Plain), captured_of(small_models.Plain, BF16))
    segments = [slices(captured, plan_of(captured, [0, 3, 15, 63], 3)) for captured in (whole, lower)]
    sizes = [[sum(spec.bytes for spec in segment.sends) for segment in own] for own in segments]
    assert sizes[0][:2] == [2 * size for size in sizes[1][:2]]
