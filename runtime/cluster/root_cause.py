"""Decide which rank is at fault, from what each has said and how long it has been silent; no clock, no network.

The first fault that is a rank's own counts; a stage that lost its neighbour is only a consequence. Where nothing but
consequences are known, a rank that has gone is about to be noticed by its silence, so they wait for that.
"""

from collections.abc import Sequence
from dataclasses import replace

from runtime.cluster.messages import Heartbeat, Member
from runtime.failure import Failure, first_of

_CUT_OFF = "nothing heard of any other rank: the network of this host is down"
_GONE = "its process has ended without a word, or the connection to it broke"
GRACE_S = 0.5
"""How long others may still speak once a fault is known, so that the worst is told."""


class RootCauseAnalysis:
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
        self._last_s: float | None = None
        self._heard: dict[int, tuple[int, float]] = {}
        self._silent: set[int] = set()
        self._gone: set[int] = set()

    @property
    def lost(self) -> set[int]:
        """The ranks of which nothing more is to be expected."""
        return self._silent | self._gone

    def hear(self, heartbeats: Sequence[Heartbeat], now_s: float) -> None:
        """Take in the last heartbeat of every rank; of a rank's faults only the first counts.

        Where this is called after a long time, this process itself has been stopped, and perhaps all have.
        """
        gap_s = 0.0 if self._last_s is None else now_s - self._last_s
        if gap_s > self._timeout_s / 2:
            self._heard = {rank: (number, at_s + gap_s) for rank, (number, at_s) in self._heard.items()}
        self._last_s = now_s
        for rank, beat in enumerate(heartbeats):
            if beat.left or self._heard.get(rank, (None, 0.0))[0] != beat.number:
                self._heard[rank] = beat.number, now_s
            if beat.failure:
                self._blame(rank, beat.failure, now_s)
            if (silent_s := now_s - self._heard[rank][1]) > self._timeout_s:
                self._silent.add(rank)
                self._blame(rank, Failure(reason=silence(silent_s)), now_s)
        for beat in heartbeats:
            if beat.gone is not None and not heartbeats[beat.gone].left:
                self._gone.add(beat.gone)
                self._blame(beat.gone, Failure(reason=_GONE), now_s)
        if not self._failures and all(beat.waits_for and beat.waits_s > self._stall_s for beat in heartbeats):
            rank = max(range(len(heartbeats)), key=lambda rank: heartbeats[rank].waits_s)
            reason = (
                f"{heartbeats[rank].waits_for} has taken {heartbeats[rank].waits_s:.0f} s, and every other rank waits, "
                "too: the network between this rank and a neighbour is down"
            )
            self._blame(rank, Failure(reason=reason), now_s)

    def root_cause(self, now_s: float) -> Failure | None:
        """Return the root cause, once enough is known to tell it."""
        failures = list(self._failures.values())
        if not failures:
            return None
        own = [failure.at_s for failure in failures if failure.cause != "neighbour"]
        least_s = min(own) if own else min(failure.at_s for failure in failures) + self._timeout_s
        if now_s < least_s + GRACE_S:
            return None
        if len(self._silent) == len(self._members) - 1 > 1:
            return Failure(who=str(self._members[self._here]), reason=_CUT_OFF)
        first, reasons = first_of(failures), {failure.reason for failure in failures}
        if first.cause == "input" and len(failures) == len(self._members) and len(reasons) == 1:
            return replace(first, who="")  # all say the same, so none is named
        return first

    def _blame(self, rank: int, failure: Failure, now_s: float) -> None:
        self._failures.setdefault(rank, replace(failure, who=str(self._members[rank]), at_s=now_s))


def silence(for_s: float) -> str:
    """Return the sentence that says how long a rank has been silent."""
    return f"nothing heard of it for {for_s:.0f} s: its host or the network to it is down, or its process is stopped"
