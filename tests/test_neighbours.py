"""Rounds beside busy neighbours, taken in turn with rounds alone."""

import os
from pathlib import Path

import psutil
import pytest
import small_models

from profiler.budget import LEAST_ROUNDS, Budget
from profiler.config import Config
from profiler.errors import ProcessError
from profiler.measure import captured_model, measure
from profiler.neighbours import neighbours
from profiler.process import neighbouring_cores

CONFIG = Config(model="small_models:Residual", batch_size=2, image_size=small_models.IMAGE_SIZE)


def cpu_s() -> float:
    times = [process.cpu_times() for process in psutil.Process().children()]
    return sum(time.user + time.system for time in times)


def test_neighbours_work_when_told_and_rest_when_told(usable: tuple[int, ...]) -> None:
    with neighbours(CONFIG, usable[-1:]) as beside:
        beside.run()
        before = cpu_s()
        while cpu_s() < before + 0.05:
            pass
        beside.rest()
        resting = cpu_s()
        os.sched_yield()
        assert cpu_s() == resting
    assert not psutil.Process().children()


def test_a_profile_beside_neighbours_holds_both_kinds_of_times(usable: tuple[int, ...], in_folder: Path) -> None:  # noqa: ARG001
    cores = [usable[0], usable[-1]]
    found = measure(CONFIG, captured_model(CONFIG), cores, lambda _share: None, budget=Budget(0.1))
    assert found.neighbours == 1
    assert found.loaded_step is not None
    assert len(found.loaded_step.samples_s) == LEAST_ROUNDS
    for layer in found.layers:
        assert layer.loaded is not None
        beside_s = layer.loaded.forward_s + layer.loaded.backward_s + layer.loaded.update_s
        alone_s = layer.forward_s + layer.backward_s + layer.update_s
        assert layer.loaded.slowdown == pytest.approx(beside_s / alone_s)
    assert not psutil.Process().children()


def test_more_neighbours_than_cores_are_refused() -> None:
    assert neighbouring_cores([3, 5, 7], 1) == (3, 5)
    with pytest.raises(ProcessError, match="use --neighbours 2 or fewer"):
        neighbouring_cores([3, 5, 7], 3)
