"""The plain step on one core, timed in a process of its own."""

import pytest

from profiler.errors import ProcessError, StageplanError
from profiler.measure import Yardstick
from profiler.settings import Config

SMALL = Config(model="small_models:Residual", batch_size=4, image_size=16)


def test_a_step_takes_some_time_and_the_core_is_watched(usable: tuple[int, ...]) -> None:
    with Yardstick(SMALL, usable[0]) as yardstick:
        for _ in range(2):
            found = yardstick.time(60.0)
            assert 0 < found.step_s < 60
            assert 0 <= found.foreign_load <= 1


def test_what_cannot_be_timed_is_said(usable: tuple[int, ...]) -> None:
    with Yardstick(SMALL, usable[0]) as yardstick:
        with pytest.raises(ProcessError, match="was not done after 0 s"):
            yardstick.time(0.1)
        assert yardstick.time(60.0).step_s > 0, "in a process of its own again"
    with (
        Yardstick(Config(model="small_models:not_there"), usable[0]) as yardstick,
        pytest.raises(StageplanError, match="not_there"),
    ):
        yardstick.time(60.0)
