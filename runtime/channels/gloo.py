"""The channel over torch.distributed with gloo: point-to-point messages between ranks, one for each stage.

A message is a whole slot, header included, so it always has the same size. A receive is posted one minibatch ahead,
into a slot whose minibatch is done with; a thread waits for it, for gloo tells nobody who does not wait. A send waits
for an earlier one only when it needs that one's slot again. Over gloo, too, stages tell each other the norm of all
their gradients, bit for bit as one process works it out.
"""

import contextlib
import os
import queue
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, TCPStore

from profiler.errors import one_line
from profiler.execution import norm_scale
from runtime.channels.channel import Channel, Cut, Rendezvous
from runtime.channels.slot_ring import Ring, ring_bytes
from runtime.errors import InputError, NeighbourGone

HOST, LOOPBACK = "127.0.0.1", "lo"
FOR_EVER = timedelta(days=7)
"""Gloo's own patience; a neighbour that hangs is noticed by the supervising parent long before."""
OPENING_S = 30.0
_THERE = b"."
_GONE = "a neighbouring stage has gone"


def open_store() -> TCPStore:
    """Return the store where the ranks of this machine meet, which no other one reaches.

    It ends with the last reference to it.
    """
    try:
        return listening_store(HOST, 0, OPENING_S)
    except (OSError, RuntimeError, ValueError) as error:
        raise _unopened(error) from error


def listening_store(host: str, port: int, timeout_s: float) -> TCPStore:
    """Return a store that listens at one address of this machine, where torch's own would listen at all of them.

    Args:
        host: The address, or a name of it.
        port: Which port; 0 for any that is free.
        timeout_s: How long what is asked of it may take.
    """
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    server = socket.create_server(address, family=family)
    return TCPStore(
        host, server.getsockname()[1], is_master=True, wait_for_workers=False, timeout=timedelta(seconds=timeout_s),
        master_listen_fd=server.detach(),
    )  # fmt: skip


def rendezvous_of(store: TCPStore) -> Rendezvous:
    """Return how the processes of this machine find ``store``."""
    return Rendezvous(host=HOST, port=store.port, prefix="", interface=LOOPBACK)


def join(rendezvous: Rendezvous, rank: int, world_size: int) -> None:
    """Make this process rank ``rank`` of those that meet; does nothing if it has joined."""
    if dist.is_initialized():
        return
    if rendezvous.interface:
        os.environ["GLOO_SOCKET_IFNAME"] = rendezvous.interface
    try:
        met = TCPStore(rendezvous.host, rendezvous.port, is_master=False, timeout=timedelta(seconds=OPENING_S))
        store = PrefixStore(rendezvous.prefix, met)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size, timeout=FOR_EVER)
    except (RuntimeError, ValueError) as error:
        raise _unopened(error) from error


def gloo_channel(cut: Cut, peer: int, *, behind: bool) -> Channel:
    """Return one rank's end of a cut, with room for what is sent and received.

    Args:
        cut: What crosses.
        peer: The rank of the neighbouring stage.
        behind: Whether the cut lies behind this rank's stage.
    """
    # The receiver posts one ahead: it has slots for what it holds, and one more.
    activation_slots = cut.activation_slots if behind else cut.in_flight + 1
    gradient_slots = cut.gradient_slots + 1 if behind else cut.gradient_slots
    activations = _Messages(cut.values, activation_slots, peer, 0)
    gradients = _Messages(cut.gradients, gradient_slots, peer, 1)

    def finish() -> None:
        activations.finish()
        gradients.finish()

    def close() -> None:
        finish()
        activations.close()
        gradients.close()

    def begin(minibatches: int | None) -> None:
        finish()
        activations.begin(minibatches)
        gradients.begin(minibatches)

    return Channel(activations, gradients, begin, close)


class _Messages:
    """One direction: a ring, and the messages under way in its slots."""

    def __init__(self, specs: Sequence, slots: int, peer: int, direction: int) -> None:  # type: ignore[type-arg]
        size = ring_bytes(specs, slots)
        self._ring = Ring(torch.zeros(size, dtype=torch.uint8).numpy(), 0, specs, slots)
        self._peer, self._direction = peer, direction
        self._count: int | None = None
        self._next = 0
        self._sends: dict[int, dist.Work] = {}
        self._awaited = -1
        self._arrivals = _Arrivals()
        self.blank, self.ends_update = self._ring.blank, self._ring.ends_update
        self.fileno = self._arrivals.fileno

    def begin(self, minibatches: int | None) -> None:
        """Get ready for a run of so many minibatches; None where nobody knows how many."""
        self._count, self._next, self._awaited = minibatches, 0, -1

    def put(self, minibatch: int, tensors: Sequence[Tensor], *, ends_update: bool = False) -> None:
        with blaming_the_neighbour():
            self._finish(minibatch - self._ring.slots)
        self._ring.put(minibatch, tensors, ends_update=ends_update)

    def announce(self, minibatch: int) -> None:
        self._next = minibatch + 1
        with blaming_the_neighbour():
            self._send(minibatch)

    def await_next(self, minibatch: int) -> None:
        if minibatch > self._awaited and (self._count is None or minibatch < self._count):
            self._awaited = minibatch
            with blaming_the_neighbour():
                self._arrivals.expect(self._work(dist.irecv, minibatch))

    def receive(self, minibatch: int) -> list[Tensor] | None:
        self.await_next(minibatch)
        self._arrivals.take()
        if self._ring.is_end(minibatch):
            return None
        if self._direction == 0 or self._count is not None:  # else it may be that no gradient follows
            self.await_next(minibatch + 1)
        return self._ring.get(minibatch)

    def end(self) -> None:
        """Send that none follows in the place of the next minibatch."""
        with blaming_the_neighbour():
            self._finish(self._next - self._ring.slots)
            self._ring.put_end(self._next)
            self._send(self._next)

    def finish(self) -> None:
        """Wait until what was sent has been taken."""
        with blaming_the_neighbour():
            for minibatch in list(self._sends):
                self._finish(minibatch)

    def close(self) -> None:
        """Let the thread end that waits for what arrives."""
        self._arrivals.close()

    def _send(self, minibatch: int) -> None:
        self._sends[minibatch] = self._work(dist.isend, minibatch)

    def _work(self, verb, minibatch: int) -> dist.Work:  # type: ignore[no-untyped-def]  # noqa: ANN001
        work: dist.Work | None = verb(self._ring.message(minibatch), self._peer, tag=2 * minibatch + self._direction)
        assert work is not None
        return work

    def _finish(self, minibatch: int) -> None:
        work = self._sends.pop(minibatch, None)
        if work is not None:
            work.wait()


class _Arrivals:
    """Waits for messages in a thread, one after the other, and says when one is there."""

    def __init__(self) -> None:
        self._expected: queue.SimpleQueue[dist.Work | None] = queue.SimpleQueue()
        self._here, self._there = socket.socketpair()
        self._thread: threading.Thread | None = None

    def fileno(self) -> int:
        """Return the descriptor that can be read from once the next expected message is there."""
        return self._here.fileno()

    def expect(self, work: dist.Work) -> None:
        """Wait for a message after those before."""
        self._expected.put(work)
        if self._thread is None:
            self._thread = threading.Thread(target=self._wait, daemon=True)
            self._thread.start()

    def take(self) -> None:
        """Wait until the next expected message is there."""
        if self._here.recv(1) != _THERE:
            raise NeighbourGone(_GONE)

    def close(self) -> None:
        """Let the thread end; nothing is expected any more."""
        self._expected.put(None)
        self._here.close()

    def _wait(self) -> None:
        with self._there:
            while (work := self._expected.get()) is not None:
                try:
                    work.wait()
                except RuntimeError:  # the neighbour has gone
                    return
                self._there.send(_THERE)


@contextlib.contextmanager
def blaming_the_neighbour() -> Iterator[None]:
    """Turn gloo's errors into ours: a rank at the other end has gone."""
    try:
        yield
    except RuntimeError as error:
        raise NeighbourGone(_GONE) from error


def _unopened(error: Exception) -> InputError:
    return InputError(
        f"the gloo channel cannot be opened: {one_line(error)}; check GLOO_SOCKET_IFNAME, or use --channel shm"
    )


class CommonNorm:
    """The norm of the gradients of all stages, which meet over gloo for it."""

    def __init__(self, parameters: Sequence[str], bound: float) -> None:
        """Bound the norm over ``parameters``, the paths of all the model's in its own order, by ``bound``."""
        self._place = {path: place for place, path in enumerate(parameters)}
        self._bound = bound

    def scale(self, norms: Mapping[str, Tensor]) -> Tensor:
        """Return what every gradient is multiplied by, once all stages have told the norms of theirs.

        Args:
            norms: Of this stage's gradients, by path; a parameter without one counts for none.
        """
        told = torch.zeros(2, len(self._place))  # the norms, and whether there are any: zeros add nothing to a bit
        for path, norm in norms.items():
            told[0, self._place[path]], told[1, self._place[path]] = norm, 1.0
        with blaming_the_neighbour():
            dist.all_reduce(told)
        return norm_scale(list(told[0, told[1] > 0]), self._bound)
