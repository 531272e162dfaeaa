"""The plain step on one core, timed in a process of its own."""

import pytest

from profiler.errors import ProcessError, StageplanError
from profiler.measure import step_timer
from profiler.settings import Config

SMALL = Config(model="small_models:Residual", batch_size=4, image_size=16)


def test_a_step_takes_some_time_and_the_core_is_watched(usable: tuple[int, ...]) -> None:
    with step_timer(SMALL, usable[0]) as timed:
        for _ in range(2):
            found = timed(60.0)
            assert 0 < found.step_s < 60
            assert 0 <= found.foreign_load <= 1


def test_what_cannot_be_timed_is_said(usable: tuple[int, ...]) -> None:
    with step_timer(SMALL, usable[0]) as timed:
        with pytest.raises(ProcessError, match="was not done after 0 s"):
            timed(0.1)
        assert timed(60.0).step_s > 0, "in a process of its own again"
    with (
        step_timer(Config(model="small_models:not_there"), usable[0]) as timed,
        pytest.raises(StageplanError, match="not_there"),
    ):
        timed(60.0)
