"""Feed the user's minibatches to the stages that need them, from this process, as their slots come free.

Inputs go to the first stage, targets to the last. Each has a ring in shared memory, filled like the one between two
stages; instead of gradients, the stage sends back a minibatch's number when its backward is over.
"""

import contextlib
import math
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait

import torch
from torch import Tensor

from profiler.execution import TensorSpec
from runtime.channels import Channel, Cut, shared_memory_channel
from runtime.errors import InputError, NeighbourGone
from runtime.pipeline.read_minibatches import Reader
from runtime.worker import Checksums, CutEnd

AHEAD = 2
"""Slots beside those of the minibatches in flight, so that a stage need not wait for this process."""


@dataclass(slots=True)
class FeedEnd:
    """This process's end of a ring: what it holds, whose it is, and the minibatches that are not done with.

    Attributes:
        targets: Whether it holds targets, each with the number of minibatches that share its update; else inputs.
        replica: Which of ``replicas`` of the stage it belongs to, which has every ``replicas``-th minibatch.
    """

    channel: Channel
    notifications: socket.socket
    slots: int
    targets: bool
    replica: int
    replicas: int
    held: deque[int] = field(default_factory=deque)


def feed_cut(specs: Sequence[TensorSpec], in_flight: int) -> Cut:
    """Return the cut between this process and a stage that has so many minibatches in flight."""
    slots = in_flight + AHEAD
    return Cut(tuple(specs), slots, slots, in_flight)


def target_specs(target: TensorSpec) -> tuple[TensorSpec, TensorSpec]:
    """Return what the ring of targets holds."""
    return target, TensorSpec(name="sharing", shape=(), stride=(), dtype=torch.int64, gradient=False)


def feed_end(end: CutEnd, *, targets: bool, replica: int, replicas: int) -> FeedEnd:
    """Return this process's end of a ring in shared memory, of which it keeps mapping and socket."""
    assert end.memory is not None
    assert end.notifications is not None
    channel = shared_memory_channel(end.memory, end.cut, end.notifications)
    return FeedEnd(channel, end.notifications, end.cut.activation_slots, targets, replica, replicas)


class Feed:
    """Reads minibatches and hands them out, each to every ring that needs it, as far as there is room.

    Attributes:
        fed: How many it has handed out in this run.
        samples: How many samples those had.
        failure: What reading raised; there are no more minibatches after it.
    """

    def __init__(self, ends: Sequence[FeedEnd], update_every: int) -> None:
        """Hand out over ``ends``; targets say how many minibatches share an update, which takes ``update_every``."""
        self._ends, self._update_every = ends, update_every
        self.begin(None)

    def begin(
        self, reader: Reader | None, limit: int | None = None, *, announced: bool = False, exact: bool = False
    ) -> None:
        """Get ready for a run.

        Args:
            reader: Where minibatches come from; None where stages make them.
            limit: How many at most; None: all there are.
            announced: Whether to tell the stages the end, which do not know how many there are.
            exact: Whether fewer than ``limit`` are too few.
        """
        self._exact, self._stopping = exact, False
        self._reader, self._limit, self._announced = reader, limit, announced
        self._ahead: deque[tuple[Tensor, Tensor]] = deque()
        self._read, self._exhausted, self._ended = 0, reader is None, reader is None or not self._ends
        self.fed, self.samples = 0, 0
        self.failure: InputError | None = None
        self.active_s = -math.inf

    def stop(self) -> None:
        """Read no more than the update takes that has been begun; what has been read is still handed out.

        Raises:
            KeyboardInterrupt: Nobody would tell the stages.
        """
        if not self._announced:
            raise KeyboardInterrupt
        self._stopping = True

    @property
    def checksums(self) -> Checksums:
        """Checksums of the minibatches that were read in this run; nothing where the stages make them."""
        return self._reader.checksums if self._reader else ()

    @property
    def name(self) -> str:
        """What to call the minibatches."""
        return self._reader.name if self._reader else "synthetic data"

    @property
    def sources(self) -> list[socket.socket]:
        """What is to be waited for until there may be room."""
        return [end.notifications for end in self._ends if end.held] if not self._ended else []

    def supply(self) -> bool:
        """Read and hand out one minibatch if there is room; say whether there may be room for another at once.

        Raises:
            InputError: Reading failed, and the stages wait for more.
        """
        if self._ended:
            return False
        with contextlib.suppress(NeighbourGone):  # what befell the stage is found by who supervises it
            return self._supply()
        self._ended = True
        return False

    def _supply(self) -> bool:
        for end in self._ends:
            while end.held and wait([end.notifications], 0):
                end.channel.gradients.receive(end.held[0])
                end.held.popleft()
        own = [end for end in self._ends if self.fed % end.replicas == end.replica]
        if any(len(end.held) >= end.slots for end in own):
            return False
        self._read_ahead()
        if not self._ahead:
            self._end()
            return False
        inputs, targets = self._ahead.popleft()
        sharing = torch.tensor(self._sharing())
        for end in own:
            end.channel.activations.put(self.fed, [targets, sharing] if end.targets else [inputs])
            end.held.append(self.fed)
            end.channel.activations.announce(self.fed)
        self.fed += 1
        self.samples += len(inputs)
        return True

    def _sharing(self) -> int:
        """Return how many minibatches share the update of the one that is handed out next."""
        first = self.fed // self._update_every * self._update_every
        return min(self._update_every, self._read - first)

    def _read_ahead(self) -> None:
        """Read as far as it takes to know how many minibatches share the next update."""
        wanted = (self.fed // self._update_every + 1) * self._update_every
        while self._read < wanted and not self._exhausted:
            if self._read == self._limit or (self._stopping and self._read % self._update_every == 0):
                self._exhausted = True
                break
            assert self._reader is not None
            try:
                pair = self._reader.read()
            except InputError as error:
                self.failure, pair = error, None
            self.active_s = time.perf_counter()
            if pair is None:
                self._exhausted = True
                if self.failure is None and self._exact and self._limit is not None:
                    self.failure = self._reader.too_few(self._limit)
            else:
                self._ahead.append(pair)
                self._read += 1

    def _end(self) -> None:
        """Tell the stages that no minibatch follows, or raise why none came."""
        self._ended = True
        if self.failure and not self._announced:
            raise self.failure
        for end in self._ends:
            if self._announced and not end.targets:
                end.channel.activations.end()

    def close(self) -> None:
        """Let go of all rings."""
        for end in self._ends:
            end.channel.close()
