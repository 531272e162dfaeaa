"""The channel in shared memory: the sender copies once, the receiver computes in place.

Both ends map one anonymous memory, which has a ring for either direction. A socket says which minibatch is there; it
also tells when the neighbour has gone, for a process that ends, however that is, closes its sockets.
"""

import socket
import struct
from collections.abc import Sequence

from torch import Tensor

from runtime.channels.channel import Cut
from runtime.channels.ring import Ring, ring_bytes
from runtime.channels.shared_memory import SharedMemory
from runtime.errors import NeighbourGone

_NUMBER = struct.Struct("<q")
_GONE = "a neighbouring stage has gone"


def channel_bytes(cut: Cut) -> int:
    """Return how much memory the channel over a cut takes."""
    return ring_bytes(cut.values, cut.activation_slots) + ring_bytes(cut.gradients, cut.gradient_slots)


def notification_sockets() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a connection that keeps messages apart."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class SharedMemoryChannel:
    """One stage's end."""

    def __init__(self, memory: SharedMemory, cut: Cut, notifications: socket.socket) -> None:
        """Lay the two rings over ``memory``."""
        self._activations = Ring(memory.memory, 0, cut.values, cut.activation_slots)
        behind = ring_bytes(cut.values, cut.activation_slots)
        self._gradients = Ring(memory.memory, behind, cut.gradients, cut.gradient_slots)
        self._notifications = notifications

    def send_activations(self, minibatch: int, tensors: Sequence[Tensor]) -> None:
        """Copy a minibatch's activations into their slot and say so."""
        self._activations.put(minibatch, tensors)
        self._ring(minibatch)

    def send_gradients(self, minibatch: int, tensors: Sequence[Tensor]) -> None:
        """Copy a minibatch's gradients into their slot and say so."""
        self._gradients.put(minibatch, tensors)
        self._ring(minibatch)

    def receive_activations(self, minibatch: int) -> list[Tensor]:
        """Wait for a minibatch's activations."""
        self._wait(minibatch)
        return self._activations.get(minibatch)

    def receive_gradients(self, minibatch: int) -> list[Tensor]:
        """Wait for a minibatch's gradients."""
        self._wait(minibatch)
        return self._gradients.get(minibatch)

    def blank_activations(self) -> list[Tensor]:
        """Return zeros where activations lie."""
        return self._activations.blank()

    def blank_gradients(self) -> list[Tensor]:
        """Return zeros where gradients lie."""
        return self._gradients.blank()

    def close(self) -> None:
        """Close the socket; the memory goes with the last tensor that lives in it."""
        self._notifications.close()

    def _ring(self, minibatch: int) -> None:
        try:
            self._notifications.send(_NUMBER.pack(minibatch))
        except OSError as error:
            raise NeighbourGone(_GONE) from error

    def _wait(self, minibatch: int) -> None:
        try:
            message = self._notifications.recv(_NUMBER.size)
        except OSError as error:
            raise NeighbourGone(_GONE) from error
        if not message:
            raise NeighbourGone(_GONE)
        (number,) = _NUMBER.unpack(message)
        assert number == minibatch, f"expected minibatch {minibatch}, the neighbour sent {number}"
