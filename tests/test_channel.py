import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest
import torch

from profiler.operations import TensorSpec
from runtime.arena import Arena
from runtime.channel import Channel, NeighbourGone, doorbells, link_bytes

SLOTS = 2
SPECS = [
    TensorSpec(name="x", shape=(3, 5), stride=(5, 1), dtype=torch.float32, gradient=True),
    TensorSpec(name="index", shape=(4,), stride=(1,), dtype=torch.int64, gradient=False),
]


Ends = tuple[Channel, Channel, Connection]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Both ends in this process, each with a mapping of its own, and the parent's end of the control connection."""
    above = Arena.create(link_bytes(SPECS, SLOTS))
    below = Arena(os.dup(above.descriptor))
    ours, theirs = multiprocessing.Pipe()
    bells = doorbells()
    first, second = (Channel(a, SPECS, SLOTS, bell, theirs) for a, bell in zip((above, below), bells, strict=True))
    above.close()
    below.close()
    yield first, second, ours
    first.close()
    second.close()
    ours.close()
    theirs.close()


def test_what_is_sent_is_received_both_ways(ends: Ends) -> None:
    above, below, _ = ends
    for minibatch in range(5):
        tensors = [torch.randn(3, 5), torch.arange(4)]
        above.send_activations(minibatch, tensors)
        received = below.receive_activations(minibatch)
        assert all(torch.equal(a, b) for a, b in zip(received, tensors, strict=True))
        below.send_gradients(minibatch, [received[0] * 2])
        (gradient,) = above.receive_gradients(minibatch)
        assert torch.equal(gradient, tensors[0] * 2), "only x has a gradient"


def test_minibatches_in_flight_do_not_touch_each_other(ends: Ends) -> None:
    above, below, _ = ends
    first, second = torch.ones(3, 5), torch.zeros(3, 5)
    above.send_activations(0, [first, torch.arange(4)])
    above.send_activations(1, [second, torch.arange(4)])
    received = below.receive_activations(0)
    below.receive_activations(1)
    assert torch.equal(received[0], first)


def test_a_neighbour_that_has_gone_is_noticed(ends: Ends) -> None:
    above, below, _ = ends
    above.close()
    with pytest.raises(NeighbourGone):
        below.receive_activations(0)
    with pytest.raises(NeighbourGone):
        below.send_gradients(0, [torch.zeros(3, 5)])


def test_what_was_sent_before_the_neighbour_went_is_still_received(ends: Ends) -> None:
    above, below, _ = ends
    above.send_activations(0, [torch.ones(3, 5), torch.arange(4)])
    above.close()
    assert torch.equal(below.receive_activations(0)[0], torch.ones(3, 5))


def test_a_wait_ends_when_the_parent_has_gone(ends: Ends) -> None:
    _, below, control = ends
    control.close()
    with pytest.raises(SystemExit):
        below.receive_activations(0)


def test_shared_memory_has_no_name() -> None:
    before = set(os.listdir("/dev/shm"))  # noqa: PTH208, S108
    arena = Arena.create(1 << 20)
    assert set(os.listdir("/dev/shm")) == before  # noqa: PTH208, S108
    arena.close()
    arena.close()
    assert Arena.create(0).descriptor >= 0
