"""The channel in shared memory: the sender copies once, the receiver computes in place.

Both ends map one anonymous memory, which has a ring for either direction. A socket says which minibatch is there; it
also tells when the neighbour has gone, for a process that ends, however that is, closes its sockets.
"""

import socket
import struct

from torch import Tensor

from runtime.channels.channel import Channel, Cut
from runtime.channels.memory_segment import SharedMemory
from runtime.channels.slot_ring import Ring, ring_bytes
from runtime.errors import NeighbourGone

_NUMBER = struct.Struct("<q")
_NO_MORE = -1
_GONE = "a neighbouring stage has gone"


def channel_bytes(cut: Cut) -> int:
    """Return how much memory the channel over a cut takes."""
    return ring_bytes(cut.values, cut.activation_slots) + ring_bytes(cut.gradients, cut.gradient_slots)


def notification_sockets() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a connection that keeps messages apart."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def shared_memory_channel(memory: SharedMemory, cut: Cut, notifications: socket.socket) -> Channel:
    """Return one stage's end: two rings over ``memory``, which goes with the last tensor that lives in it."""
    activations = Ring(memory.memory, 0, cut.values, cut.activation_slots)
    offset = ring_bytes(cut.values, cut.activation_slots)
    gradients = Ring(memory.memory, offset, cut.gradients, cut.gradient_slots)
    down, up = _Notified(activations, notifications), _Notified(gradients, notifications)
    return Channel(down, up, lambda _minibatches: None, notifications.close)


class _Notified:
    """One direction: a ring in memory that both ends map, and a socket that says which minibatch is there."""

    def __init__(self, ring: Ring, notifications: socket.socket) -> None:
        self._ring, self._notifications = ring, notifications
        self.put, self.blank, self.ends_update = ring.put, ring.blank, ring.ends_update
        self.fileno = notifications.fileno

    def announce(self, minibatch: int) -> None:
        try:
            self._notifications.send(_NUMBER.pack(minibatch))
        except OSError as error:
            raise NeighbourGone(_GONE) from error

    def end(self) -> None:
        self.announce(_NO_MORE)

    def await_next(self, minibatch: int) -> None:
        """Nothing has to be asked for."""

    def receive(self, minibatch: int) -> list[Tensor] | None:
        try:
            message = self._notifications.recv(_NUMBER.size)
        except OSError as error:
            raise NeighbourGone(_GONE) from error
        if not message:
            raise NeighbourGone(_GONE)
        (number,) = _NUMBER.unpack(message)
        if number == _NO_MORE:
            return None
        assert number == minibatch, f"expected minibatch {minibatch}, the neighbour sent {number}"
        return self._ring.get(minibatch)
