"""Rounds beside busy neighbours, taken in turn with rounds alone."""

import os

import psutil
import pytest
import small_models
from processes import forked

from profiler.capture import captured_model
from profiler.errors import ProcessError
from profiler.machine import neighbouring_cores
from profiler.measure import measure_profile
from profiler.measure.neighbours import busy_neighbours
from profiler.profile import PLAIN_FORM
from profiler.rounds.time_budget import LEAST_ROUNDS
from profiler.settings import Config

pytestmark = pytest.mark.slow

CONFIG = Config(model="small_models:Residual", batch_size=2, image_size=small_models.IMAGE_SIZE)


def children() -> set[psutil.Process]:
    return set(forked(psutil.Process()))


def test_neighbours_work_when_told_and_rest_when_told(usable: tuple[int, ...]) -> None:
    others = children()
    with busy_neighbours(CONFIG, PLAIN_FORM, usable[-1:]) as tell:
        (neighbour,) = children() - others

        def worked_s() -> float:
            return float(sum(neighbour.cpu_times()[:2]))

        tell("run")
        before = worked_s()
        while worked_s() < before + 0.05:
            pass
        tell("rest")
        resting = worked_s()
        os.sched_yield()
        assert worked_s() == resting
    assert children() == others


def test_a_neighbour_that_dies_is_told_and_nothing_is_left(usable: tuple[int, ...]) -> None:
    others = children()
    with busy_neighbours(CONFIG, PLAIN_FORM, usable[-1:]) as tell:
        tell("run")
        (neighbour,) = children() - others
        neighbour.kill()
        with pytest.raises(ProcessError, match="ended"):
            tell("rest")
    assert children() == others


def test_rounds_are_taken_beside_neighbours_and_some_beside_none(usable: tuple[int, ...]) -> None:
    cores, others = [usable[0], usable[-1], usable[-1]], children()
    found = measure_profile(CONFIG, captured_model(CONFIG), cores, lambda _share: None, budget_s=0.1)
    assert found.neighbours == 2
    assert found.beside_s > 0
    assert found.rounds >= LEAST_ROUNDS
    assert all(layer.alone_s is not None for layer in found.layers)
    assert found.loss.alone_s is not None
    assert children() == others


def test_without_neighbours_every_plain_step_is_one_beside_none(usable: tuple[int, ...]) -> None:
    found = measure_profile(CONFIG, captured_model(CONFIG), usable[:1], lambda _share: None, budget_s=0.1)
    assert (found.neighbours, found.beside_s) == (0, found.whole_step_s)
    assert all(layer.alone_s is None for layer in found.layers)


def test_as_many_cores_are_busy_as_will_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three cores on two physical ones."""
    monkeypatch.setattr("profiler.machine.cores.physical_core", lambda core: ("", str(core % 2)))
    assert [neighbouring_cores([0, 1, 2], stages) for stages in (1, 2, 4)] == [(0,), (0, 1), (0, 1)]
