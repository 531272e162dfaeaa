"""The plain step on one core, timed in a process of its own."""

import pytest

from profiler.errors import ProcessError, StageplanError
from profiler.measure import time_step
from profiler.settings import Config

SMALL = Config(model="small_models:Residual", batch_size=4, image_size=16)


def test_a_step_takes_some_time_and_the_core_is_watched(usable: tuple[int, ...]) -> None:
    found = time_step(SMALL, usable[0], 60.0)
    assert 0 < found.step_s < 60
    assert 0 <= found.foreign_load <= 1


def test_what_cannot_be_timed_is_said(usable: tuple[int, ...]) -> None:
    with pytest.raises(ProcessError, match="was not done after 0 s"):
        time_step(SMALL, usable[0], 0.1)
    with pytest.raises(StageplanError, match="not_there"):
        time_step(Config(model="small_models:not_there"), usable[0], 60.0)
