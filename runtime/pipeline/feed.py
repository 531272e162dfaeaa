"""Feed the user's minibatches to the stages that need them, from this process, as their slots come free.

Inputs go to the first stage, targets to the last. Each has a ring in shared memory, filled like the one between two
stages; instead of gradients, the stage sends back a minibatch's number when its backward is over.

An update takes so many minibatches of the user's, or one, which is cut into parts as even as they can be; then what the
stages call a minibatch is a part.
"""

import contextlib
import math
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

from torch import Tensor

from runtime.channels import Channel
from runtime.errors import InputError, NeighbourGone
from runtime.pipeline.read_minibatches import Reader
from runtime.worker import Checksums, Share

STOPPING_S = 2.0
"""How long a minibatch may take from when it was asked for, once reading is to stop; else its update is left out."""


@dataclass(slots=True)
class FeedEnd:
    """This process's end of a ring: what it holds, whose it is, and the minibatches that are not done with.

    Attributes:
        targets: Whether it holds targets, each with its share of the update; else inputs.
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
            update_every: How many minibatches an update takes, unless they are cut.
            asked_to_stop: Says whether to read no more than the update takes that has been begun.
        """
        self._ends, self._update_every, self._asked_to_stop = ends, update_every, asked_to_stop
        self._leads = any(not end.targets for end in ends)
        self._reader: Reader | None = None
        self._unread: list[int] = []
        self.begin(None)

    def begin(
        self, reader: Reader | None, limit: int | None = None, *, announced: bool = False, exact: bool = False,
        first: int = 0,
    ) -> None:  # fmt: skip
        """Get ready for a run.

        Args:
            reader: Where minibatches come from; None where stages make them.
            limit: How many at most; None: all there are.
            announced: Whether to tell the stages the end, which do not know how many there are.
            exact: Whether fewer than ``limit`` are too few.
            first: How many were read in the runs before.
        """
        if self._reader:
            self._reader.close()
        with contextlib.suppress(NeighbourGone):
            self._take_releases()  # of the run before
        self._unread += [minibatch for end in self._ends for minibatch in end.left() if end.targets]
        self._exact, self._stopping = exact, False
        self._reader, self._limit, self._announced = reader, limit, announced
        self._together: list[tuple[Tensor, Tensor]] = []
        self._ahead: deque[tuple[Tensor, Tensor, Share, bool]] = deque()
        self._before, self._read = first, 0
        self._exhausted, self._ended = reader is None, reader is None or not self._ends
        self.fed = 0
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
        self._take_releases()
        if any(len(end.held) >= end.slots for end in self._ends):
            return False
        if not (self._ahead or self._read_update()):
            return False
        if not self._ahead:
            self._end()
            return False
        inputs, targets, share, last = self._ahead.popleft()
        for end in self._ends:
            held = [targets, share.tensor] if end.targets else [inputs]
            end.channel.activations.put(self.fed, held, ends_update=last)
            end.held.append(self.fed)
            end.channel.activations.announce(self.fed)
        self.fed += 1
        return True

    def _take_releases(self) -> None:
        """Make room where the stages are done with minibatches."""
        for end in self._ends:
            while end.held and wait([end.notifications], 0):
                end.channel.gradients.receive(end.held.popleft())

    def _read_update(self) -> bool:
        """Read the minibatches of the next update, fewer where the data end; what goes wrong is kept in ``failure``.

        Returns:
            False where the loader has not answered yet: to be called again.
        """
        assert self._reader is not None
        wanted = 1 if self._reader.cut else self._update_every
        self._stopping |= self._leads and self._asked_to_stop()
        while len(self._together) < wanted and not self._exhausted:
            complete = self._stopping and not self._together and self._reader.thread.asked_s is None
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
                self._together.clear()  # only whole updates are trained: what resumes shares them out as this run would
                if not self._stopping:
                    self.failure = error
            if pair is None:
                self._exhausted = True
                if self.failure is None and self._exact and self._limit is not None:
                    self.failure = self._reader.too_few(self._limit)
            else:
                self._together.append(pair)
                self._read += 1
        self._ahead.extend(self._shared_out(self._reader))
        self._together.clear()
        return True

    def _shared_out(self, reader: Reader) -> Iterator[tuple[Tensor, Tensor, Share, bool]]:
        """Yield what has been read for an update, each minibatch in its parts: and whether the update ends with it."""
        first = self._before + self._read - len(self._together)
        for number, (inputs, targets) in enumerate(self._together):
            samples, parts = len(inputs), reader.parts_of(len(inputs))
            cut = zip(inputs.tensor_split(parts), targets.tensor_split(parts), strict=True)
            for place, (own, theirs) in enumerate(cut, 1):
                part = len(own) / samples
                share = Share(weight=part / len(self._together), minibatch=first + number, part=part)
                yield own, theirs, share, place == parts and number + 1 == len(self._together)

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
