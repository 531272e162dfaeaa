"""Decide which rank is at fault, from what each has said and how long it has been silent; no clock, no network.

A fault of a rank's own counts before one that is only a consequence, such as a neighbour that has gone. Once anybody
tells of a fault, a rank that gives no sign of life for ``DEAD_S`` is at fault; until then one may be silent for as long
as the rank timeout.
"""

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from runtime.errors import Failure, first_of
from runtime.hosts.session import Member

GRACE_S = 0.5
"""How long others may still speak once a fault is known, so that the worst is told."""
DEAD_S = 3.0
"""For how long a rank has given no sign of life whose process has ended; it gives four a second."""
_CUT_OFF = "nothing heard of any other rank: the network of this host is down"


class Heartbeat(msgspec.Struct, frozen=True):
    """A rank's sign of life, with all that the others have to know of it.

    Attributes:
        number: How many there have been before.
        waits_for: What its stage waits for, if it does, since ``waits_s`` seconds.
        failure: What has befallen it.
        stopping: Whether it was told to end, so that all train what has been read, and no more.
    """

    number: int = 0
    waits_for: str = ""
    waits_s: float = 0.0
    failure: Failure | None = None
    stopping: bool = False


class Judge:
    """One rank's judgement of all ranks."""

    def __init__(self, members: Sequence[Member], here: int, timeout_s: float, stall_s: float) -> None:
        """Begin.

        Args:
            members: All ranks.
            here: Which of them judges.
            timeout_s: How long a rank may be silent.
            stall_s: How long all may wait for each other.
        """
        self._members, self._here, self._timeout_s, self._stall_s = members, here, timeout_s, stall_s
        self._failures: dict[int, Failure] = {}
        self._heard: dict[int, tuple[int, float]] = {}
        self._last_s: float | None = None

    def verdict(self, heartbeats: Sequence[Heartbeat], now_s: float) -> Failure | None:
        """Take in the last heartbeat of every rank; return who is at fault, once enough is known to tell.

        Of a rank's faults only the first counts. Where this is called after a long time, this process itself has been
        stopped, and perhaps all have.
        """
        gap_s = 0.0 if self._last_s is None else now_s - self._last_s
        if gap_s > DEAD_S / 2:
            self._heard = {rank: (number, at_s + gap_s) for rank, (number, at_s) in self._heard.items()}
        self._last_s = now_s
        for rank, beat in enumerate(heartbeats):
            if self._heard.get(rank, (None, 0.0))[0] != beat.number:
                self._heard[rank] = beat.number, now_s
            if beat.failure:
                self._blame(rank, beat.failure, now_s)
        if not self._failures:
            self._blame_a_standstill(heartbeats, now_s)
        longest_s = min(DEAD_S, self._timeout_s) if self._failures else self._timeout_s
        silent = [rank for rank, (_, at_s) in self._heard.items() if now_s - at_s > longest_s]
        if len(silent) == len(self._members) - 1 > 1:
            return Failure(who=str(self._members[self._here]), reason=_CUT_OFF)
        for rank in silent:
            self._blame(rank, Failure(reason=silence(now_s - self._heard[rank][1])), now_s)
        return self._first(now_s)

    def _blame_a_standstill(self, heartbeats: Sequence[Heartbeat], now_s: float) -> None:
        """Blame the rank that has waited longest, where all wait for longer than they may."""
        if all(beat.waits_for and beat.waits_s > self._stall_s for beat in heartbeats):
            rank, beat = max(enumerate(heartbeats), key=lambda own: own[1].waits_s)
            reason = f"{beat.waits_for} has taken {beat.waits_s:.0f} s, and every other rank waits, too: the network "
            self._blame(rank, Failure(reason=f"{reason}between this rank and a neighbour is down"), now_s)

    def _first(self, now_s: float) -> Failure | None:
        failures = list(self._failures.values())
        own = [failure.at_s for failure in failures if failure.cause != "neighbour"]
        told_s = min(own or [failure.at_s + 2 * DEAD_S for failure in failures], default=now_s)
        if now_s < told_s + GRACE_S:
            return None
        first, reasons = first_of(failures), {failure.reason for failure in failures}
        if first.cause == "input" and len(failures) == len(self._members) and len(reasons) == 1:
            return replace(first, who="")  # all say the same, so none is named
        return first

    def _blame(self, rank: int, failure: Failure, now_s: float) -> None:
        self._failures.setdefault(rank, replace(failure, who=str(self._members[rank]), at_s=now_s))


def silence(for_s: float) -> str:
    """Return the sentence that says how long a rank has been silent."""
    return (
        f"nothing heard of it for {for_s:.0f} s: its process has ended or is stopped, or its host or the network to it "
        "is down"
    )
