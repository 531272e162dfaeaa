"""Feed the user's minibatches to the stages that need them, from this process, as their slots come free.

Inputs go to the first stage, targets to the last. Each has a ring in shared memory, filled like the one between two
stages; instead of gradients, the stage sends back a minibatch's number when its backward is over.
"""

import contextlib
import math
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

import torch
from torch import Tensor

from profiler.execution import TensorSpec
from runtime.channels import Channel, Cut, shared_memory_channel
from runtime.errors import InputError, NeighbourGone
from runtime.pipeline.read_minibatches import Reader
from runtime.worker import Checksums, CutEnd

AHEAD = 2
"""Slots beside those of the minibatches in flight, so that a stage need not wait for this process."""
STOPPING_S = 2.0
"""How long a minibatch may take from when it was asked for, once reading is to stop; else its update is left out."""


@dataclass(slots=True)
class FeedEnd:
    """This process's end of a ring: what it holds, whose it is, and the minibatches that are not done with.

    Attributes:
        targets: Whether it holds targets, each with the number of minibatches that share its update; else inputs.
        ended: Whether it was told that there are no more minibatches.
    """

    channel: Channel
    notifications: socket.socket
    slots: int
    targets: bool
    held: deque[int] = field(default_factory=deque)
    ended: bool = False

    def left(self) -> list[int]:
        """Return what was announced here that nobody has taken, now that the run is over, and forget it."""
        left = [*self.held, *([-1] if self.ended and self.targets else [])]
        self.held.clear()
        self.ended = False
        return left


def feed_cut(specs: Sequence[TensorSpec], in_flight: int) -> Cut:
    """Return the cut between this process and a stage that has so many minibatches in flight."""
    slots = in_flight + AHEAD
    return Cut(tuple(specs), slots, slots, in_flight)


def target_specs(target: TensorSpec) -> tuple[TensorSpec, TensorSpec]:
    """Return what the ring of targets holds."""
    return target, TensorSpec(name="sharing", shape=(), stride=(), dtype=torch.int64, gradient=False)


def feed_end(end: CutEnd, *, targets: bool) -> FeedEnd:
    """Return this process's end of a ring in shared memory, of which it keeps mapping and socket."""
    assert end.memory is not None
    assert end.notifications is not None
    channel = shared_memory_channel(end.memory, end.cut, end.notifications)
    return FeedEnd(channel, end.notifications, end.cut.activation_slots, targets)


class Feed:
    """Reads minibatches and hands them out, each to every ring that needs it, as far as there is room.

    Attributes:
        fed: How many it has handed out in this run.
        failure: What reading raised; there are no more minibatches after it, nor those read for the same update.
    """

    def __init__(self, ends: Sequence[FeedEnd], update_every: int, asked_to_stop: Callable[[], bool]) -> None:
        """Hand out over ``ends``.

        Args:
            ends: The rings of the stages that are here.
            update_every: How many minibatches an update takes; targets say how many share one.
            asked_to_stop: Says whether to read no more than the update takes that has been begun.
        """
        self._ends, self._update_every, self._asked_to_stop = ends, update_every, asked_to_stop
        self._leads = any(not end.targets for end in ends)
        self._reader: Reader | None = None
        self._unread: list[int] = []
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
        if self._reader:
            self._reader.close()
        with contextlib.suppress(NeighbourGone):
            self._take_releases()  # of the run before
        self._unread += [minibatch for end in self._ends for minibatch in end.left() if end.targets]
        self._exact, self._stopping = exact, False
        self._reader, self._limit, self._announced = reader, limit, announced
        self._ahead: deque[tuple[Tensor, Tensor]] = deque()
        self._read, self._exhausted, self._ended = 0, reader is None, reader is None or not self._ends
        self.fed = 0
        self._samples: list[int] = []
        self.failure: InputError | None = None
        self.active_s = -math.inf

    def stop(self) -> None:
        """Read no more than the update takes that has been begun; what has been read for it is still handed out."""
        self._stopping = self._leads

    def take_unread(self) -> tuple[int, ...]:
        """Return the minibatches of the runs before whose targets nobody has taken, once."""
        unread, self._unread = tuple(self._unread), []
        return unread

    @property
    def checksums(self) -> Checksums:
        """Checksums of the minibatches that were read in this run; nothing where the stages make them."""
        return self._reader.checksums if self._reader else ()

    def samples_in(self, minibatches: int) -> int:
        """Return how many samples the first ``minibatches`` had that it handed out in this run."""
        return sum(self._samples[:minibatches])

    @property
    def name(self) -> str:
        """What to call the minibatches."""
        return self._reader.name if self._reader else "synthetic data"

    @property
    def sources(self) -> list[Any]:
        """What is to be waited for until there may be room, or the minibatch there is room for."""
        if self._ended:
            return []
        awaited = [self._reader.thread] if self._reader and self._reader.thread.asked_s is not None else []
        return [end.notifications for end in self._ends if end.held] + awaited

    def supply(self) -> bool:
        """Read and hand out one minibatch if there is room; say whether there may be room for another at once."""
        if self._ended:
            return False
        with contextlib.suppress(NeighbourGone):  # what befell the stage is found by who supervises it
            return self._supply()
        self._ended = True
        return False

    def _supply(self) -> bool:
        if self._take_releases() and self._announced and self._leads:  # of a void minibatch, as all are that follow
            self._exhausted = True
            self._ahead.clear()
        if any(len(end.held) >= end.slots for end in self._ends):
            return False
        if not self._read_ahead():
            return False
        if not self._ahead:
            self._end()
            return False
        inputs, targets = self._ahead.popleft()
        sharing = self._sharing()
        last = self.fed % self._update_every + 1 == sharing
        for end in self._ends:
            held = [targets, torch.tensor(sharing)] if end.targets else [inputs]
            end.channel.activations.put(self.fed, held, ends_update=last)
            end.held.append(self.fed)
            end.channel.activations.announce(self.fed)
        self.fed += 1
        self._samples.append(len(inputs))
        return True

    def _take_releases(self) -> bool:
        """Make room where the stages are done with minibatches; say whether one was void."""
        void = False
        for end in self._ends:
            while end.held and wait([end.notifications], 0):
                minibatch = end.held.popleft()
                end.channel.gradients.receive(minibatch)
                void |= end.channel.gradients.is_void(minibatch)
        return void

    def _sharing(self) -> int:
        """Return how many minibatches share the update of the one that is handed out next."""
        first = self.fed // self._update_every * self._update_every
        return min(self._update_every, self._read - first)

    def _read_ahead(self) -> bool:
        """Read as far as it takes to know how many minibatches share the next update; say whether that is done."""
        wanted = (self.fed // self._update_every + 1) * self._update_every
        self._stopping |= self._leads and self._asked_to_stop()
        while self._read < wanted and not self._exhausted:
            assert self._reader is not None
            complete = self._stopping and self._read % self._update_every == 0 and self._reader.thread.asked_s is None
            if self._read == self._limit or complete:
                self._exhausted = True
                break
            self.active_s = time.perf_counter()  # so that no stage is blamed for the loader
            try:
                if not self._reader.ready(STOPPING_S if self._stopping else math.inf):
                    return False
                pair = self._reader.read()
            except InputError as error:
                pair = None
                self._ahead.clear()  # only whole updates are trained: what resumes shares them out as this run would
                if not self._stopping:
                    self.failure = error
            if pair is None:
                self._exhausted = True
                if self.failure is None and self._exact and self._limit is not None:
                    self.failure = self._reader.too_few(self._limit)
            else:
                self._ahead.append(pair)
                self._read += 1
        return True

    def _end(self) -> None:
        """Tell the stages that no minibatch follows, or raise why none came."""
        self._ended = True
        if self.failure and not self._announced:
            raise self.failure
        for end in self._ends if self._announced else ():
            # Where one process feeds both, the last stage hears of the end from the first.
            if not end.targets or len(self._ends) == 1:
                end.channel.activations.end()
                end.ended = True

    def close(self) -> None:
        """Let go of all rings, and of what is read."""
        if self._reader:
            self._reader.close()
        for end in self._ends:
            end.channel.close()
