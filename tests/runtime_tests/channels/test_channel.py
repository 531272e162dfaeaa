import os
from collections.abc import Iterator

import pytest
import torch

from profiler.execution import TensorSpec
from runtime.channels import (
    Channel,
    Cut,
    Direction,
    SharedMemory,
    channel_bytes,
    notification_sockets,
    shared_memory_channel,
)
from runtime.errors import NeighbourGone

SPECS = (
    TensorSpec(name="x", shape=(3, 5), stride=(5, 1), dtype=torch.float32, gradient=True),
    TensorSpec(name="index", shape=(4,), stride=(1,), dtype=torch.int64, gradient=False),
)
CUT = Cut(SPECS, activation_slots=2, gradient_slots=2, in_flight=2)

Ends = tuple[Channel, Channel]


def send(direction: Direction, minibatch: int, tensors: list[torch.Tensor]) -> None:
    direction.put(minibatch, tensors)
    direction.announce(minibatch)


def receive(direction: Direction, minibatch: int) -> list[torch.Tensor]:
    received = direction.receive(minibatch)
    assert received is not None
    return received


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Both ends in this process, each with a mapping of its own."""
    above = SharedMemory.create(channel_bytes(CUT))
    below = SharedMemory(os.dup(above.descriptor))
    first, second = (
        shared_memory_channel(memory, CUT, notifications)
        for memory, notifications in zip((above, below), notification_sockets(), strict=True)
    )
    above.close()
    below.close()
    yield first, second
    first.close()
    second.close()


def test_what_is_sent_is_received_both_ways(ends: Ends) -> None:
    above, below = ends
    for minibatch in range(5):
        tensors = [torch.randn(3, 5), torch.arange(4)]
        send(above.activations, minibatch, tensors)
        received = receive(below.activations, minibatch)
        assert all(torch.equal(a, b) for a, b in zip(received, tensors, strict=True))
        send(below.gradients, minibatch, [received[0] * 2])
        (gradient,) = receive(above.gradients, minibatch)
        assert torch.equal(gradient, tensors[0] * 2), "only x has a gradient"


def test_minibatches_in_flight_do_not_touch_each_other(ends: Ends) -> None:
    above, below = ends
    first, second = torch.ones(3, 5), torch.zeros(3, 5)
    send(above.activations, 0, [first, torch.arange(4)])
    send(above.activations, 1, [second, torch.arange(4)])
    received = receive(below.activations, 0)
    receive(below.activations, 1)
    assert torch.equal(received[0], first)


def test_a_smaller_minibatch_crosses_as_it_is(ends: Ends) -> None:
    above, below = ends
    send(above.activations, 0, [torch.ones(2, 5), torch.arange(2)])
    received = receive(below.activations, 0)
    assert [tuple(tensor.shape) for tensor in received] == [(2, 5), (2,)]
    send(below.gradients, 0, [torch.full((2, 5), 3.0)])
    assert torch.equal(receive(above.gradients, 0)[0], torch.full((2, 5), 3.0))


def test_a_neighbour_that_has_gone_is_noticed(ends: Ends) -> None:
    above, below = ends
    above.close()
    with pytest.raises(NeighbourGone):
        receive(below.activations, 0)
    with pytest.raises(NeighbourGone):
        send(below.gradients, 0, [torch.zeros(3, 5)])


def test_what_was_sent_before_the_neighbour_went_is_still_received(ends: Ends) -> None:
    above, below = ends
    send(above.activations, 0, [torch.ones(3, 5), torch.arange(4)])
    above.close()
    assert torch.equal(receive(below.activations, 0)[0], torch.ones(3, 5))


def test_the_end_of_all_minibatches_comes_after_the_last(ends: Ends) -> None:
    above, below = ends
    send(above.activations, 0, [torch.ones(3, 5), torch.arange(4)])
    above.activations.end()
    assert len(receive(below.activations, 0)) == 2
    assert below.activations.receive(1) is None


def test_shared_memory_has_no_name() -> None:
    before = set(os.listdir("/dev/shm"))  # noqa: PTH208, S108
    memory = SharedMemory.create(1 << 20)
    assert set(os.listdir("/dev/shm")) == before  # noqa: PTH208, S108
    memory.close()
    memory.close()
    assert SharedMemory.create(0).descriptor >= 0
