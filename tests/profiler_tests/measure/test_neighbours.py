"""Rounds beside busy neighbours, taken in turn with rounds alone."""

import os
from pathlib import Path

import psutil
import pytest
import small_models
from processes import forked

from profiler.capture import captured_model
from profiler.errors import ProcessError
from profiler.machine import neighbouring_cores
from profiler.measure import measure_profile
from profiler.measure.neighbours import busy_neighbours
from profiler.rounds.time_budget import LEAST_ROUNDS
from profiler.settings import Config

pytestmark = pytest.mark.slow

CONFIG = Config(model="small_models:Residual", batch_size=2, image_size=small_models.IMAGE_SIZE)


def children() -> set[psutil.Process]:
    return set(forked(psutil.Process()))


def test_neighbours_work_when_told_and_rest_when_told(usable: tuple[int, ...]) -> None:
    others = children()
    with busy_neighbours(CONFIG, usable[-1:]) as beside:
        (neighbour,) = children() - others

        def worked_s() -> float:
            return float(sum(neighbour.cpu_times()[:2]))

        beside.run()
        before = worked_s()
        while worked_s() < before + 0.05:
            pass
        beside.rest()
        resting = worked_s()
        os.sched_yield()
        assert worked_s() == resting
    assert children() == others


def test_a_profile_beside_neighbours_holds_both_kinds_of_times(usable: tuple[int, ...], in_folder: Path) -> None:  # noqa: ARG001
    cores, others = [usable[0], usable[-1]], children()
    found = measure_profile(CONFIG, captured_model(CONFIG), cores, lambda _share: None, budget_s=0.1)
    assert found.neighbours == 1
    assert found.loaded_step is not None
    assert len(found.loaded_step.samples_s) == found.rounds >= LEAST_ROUNDS
    for layer in found.layers:
        assert layer.loaded is not None
        beside_s = layer.loaded.forward_s + layer.loaded.backward_s + layer.loaded.update_s
        alone_s = layer.forward_s + layer.backward_s + layer.update_s
        assert layer.loaded.slowdown == pytest.approx(beside_s / alone_s)
    assert children() == others


def test_more_neighbours_than_cores_are_refused() -> None:
    assert neighbouring_cores([3, 5, 7], 1) == (3, 5)
    with pytest.raises(ProcessError, match="use --neighbours 2 or fewer"):
        neighbouring_cores([3, 5, 7], 3)
