"""Messages between two ranks over gloo: which sizes are measured, and that a wire's delay is found."""

import time
from multiprocessing.connection import Connection
from types import SimpleNamespace

import pytest
import small_models
import torch.distributed as dist
from pipelines import captured_of
from strategies import profile_of

from optimizer.planning import Planner
from profiler.capture import captured_model
from profiler.machine import helper
from profiler.measure import measure_step
from profiler.settings import config as configuration
from runtime.channels import Rendezvous, join, open_store, rendezvous_of
from runtime.hosts import answer_messages, sizes_of, time_messages
from runtime.hosts.links import SHORT_BYTES

SIZES = (SHORT_BYTES, 5_000, 400_000)


@pytest.mark.parametrize("kind", [small_models.Residual, small_models.Heads])
def test_the_sizes_are_those_that_cuts_in_captured_order_produce(kind: type) -> None:
    captured = captured_of(kind)
    planner = Planner(profile_of(captured, 0), 2, 8)
    count = len(captured.layer_names)
    crossing = [planner.costs.crossing((1 << cut) - 1) for cut in range(1, count)]
    sums = [(sum(own.output_bytes for own in cut), sum(own.gradient_bytes for own in cut)) for cut in crossing]
    wanted = {size for pair in sums for size in pair if size > SHORT_BYTES}
    found = sizes_of(captured)
    assert list(found) == sorted(set(found))
    assert found[0] == SHORT_BYTES
    assert set(found[1:]) <= wanted
    assert {min(wanted), max(wanted)} <= set(found)


def measure(_connection: Connection, rank: int, rendezvous: Rendezvous) -> tuple[tuple[float, ...], int]:
    join(rendezvous, rank, 2)
    group = dist.group.WORLD
    assert group is not None
    looks: list[int] = []
    if rank == 0:
        return tuple(time_messages(group, 1, SIZES, 30.0, lambda: looks.append(1))), len(looks)
    answer_messages(group, 0, SIZES, 30.0, lambda: looks.append(1))
    return (), len(looks)


def test_both_ends_agree_on_how_many_messages_there_are() -> None:
    store = open_store()
    with helper(measure, 0, rendezvous_of(store)) as first, helper(measure, 1, rendezvous_of(store)) as other:
        (times, sent), (_, answered) = first.receive(), other.receive()
    assert sent == answered
    assert len(times) == len(SIZES)
    assert all(0 < times[0] <= time_s for time_s in times)


@pytest.mark.usefixtures("pinned_process")
def test_a_step_is_timed_between_two_readings_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    config = configuration.override(configuration.for_model("squeezenet1_1"), {"batch_size": 1, "image_size": 32})
    captured, ticks = captured_model(config), iter(range(1_000_000))
    clock = SimpleNamespace(perf_counter=lambda: float(next(ticks)), process_time=time.process_time)
    monkeypatch.setattr("profiler.measure.stepper.time", clock)
    assert measure_step(config, captured, 0, 0.5) == 1.0
