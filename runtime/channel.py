"""The channel between two neighbouring stages: slots in shared memory, and a socket that says which slot is full.

Activations go down and gradients up, each through a ring of slots of its own. The sender copies once, the receiver
computes in place. No message says that a slot is free: with a slot for each minibatch in flight, the order of the
schedule proves it (see ``optimizer.schedule``).
A process that dies closes its socket, so its neighbours notice at once.
"""

import select
import socket
import struct
from collections.abc import Sequence
from multiprocessing.connection import Connection

from torch import Tensor

from profiler.operations import TensorSpec
from profiler.slot import fill, slot_bytes, slot_tensors
from runtime.arena import Arena
from runtime.errors import RunError

_NUMBER = struct.Struct("<q")


class NeighbourGone(RunError):  # noqa: N818 - it names what happened, and is told as a consequence
    """The process at the other end has gone; something else is the cause."""


def link_bytes(specs: Sequence[TensorSpec], slots: int) -> int:
    """Return how much memory the channel behind a stage takes."""
    return slots * (slot_bytes(specs) + slot_bytes(with_gradient(specs)))


def with_gradient(specs: Sequence[TensorSpec]) -> list[TensorSpec]:
    """Return those tensors that a gradient flows back to."""
    return [spec for spec in specs if spec.gradient]


def doorbells() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a connection that keeps messages apart."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Channel:
    """One stage's end of the channel to a neighbour."""

    def __init__(
        self, arena: Arena, specs: Sequence[TensorSpec], slots: int, bell: socket.socket, control: Connection
    ) -> None:
        """Lay the two rings over ``arena``; ``control`` is watched too, so that a wait ends when the parent goes."""
        size = slot_bytes(specs)
        self.activations = [slot_tensors(arena.memory, slot * size, specs) for slot in range(slots)]
        base, specs = slots * size, with_gradient(specs)
        size = slot_bytes(specs)
        self.gradients = [slot_tensors(arena.memory, base + slot * size, specs) for slot in range(slots)]
        self._bell, self._control = bell, control
        self._poll = select.poll()
        self._poll.register(bell, select.POLLIN)
        self._poll.register(control, 0)  # only its end is of interest, which poll reports without being asked

    def send_activations(self, minibatch: int, tensors: Sequence[Tensor]) -> None:
        """Copy a minibatch's activations into their slot and say so."""
        fill(self.activations[minibatch % len(self.activations)], tensors)
        self._ring(minibatch)

    def send_gradients(self, minibatch: int, tensors: Sequence[Tensor]) -> None:
        """Copy a minibatch's gradients into their slot and say so."""
        fill(self.gradients[minibatch % len(self.gradients)], tensors)
        self._ring(minibatch)

    def receive_activations(self, minibatch: int) -> list[Tensor]:
        """Wait for a minibatch's activations; they stay as they are until its backward is over."""
        self._wait(minibatch)
        return self.activations[minibatch % len(self.activations)]

    def receive_gradients(self, minibatch: int) -> list[Tensor]:
        """Wait for a minibatch's gradients; they stay as they are until its backward is over."""
        self._wait(minibatch)
        return self.gradients[minibatch % len(self.gradients)]

    def close(self) -> None:
        """Close the socket."""
        self._bell.close()

    def _ring(self, minibatch: int) -> None:
        try:
            self._bell.send(_NUMBER.pack(minibatch))
        except OSError as error:
            raise NeighbourGone("a neighbouring stage has gone") from error

    def _wait(self, minibatch: int) -> None:
        while True:
            try:
                message = self._bell.recv(_NUMBER.size, socket.MSG_DONTWAIT)
            except BlockingIOError:
                if any(descriptor == self._control.fileno() for descriptor, _ in self._poll.poll()):
                    raise SystemExit(1) from None  # the parent has gone, and with it everyone to report to
                continue
            except OSError as error:
                raise NeighbourGone("a neighbouring stage has gone") from error
            if not message:
                raise NeighbourGone("a neighbouring stage has gone")
            (number,) = _NUMBER.unpack(message)
            assert number == minibatch, f"expected minibatch {minibatch}, the neighbour sent {number}"
            return
