"""Decide which rank is at fault, from what each has said and how long it has been silent; no clock, no network.

The first fault that is a rank's own counts; a stage that lost its neighbour is only a consequence. Where nothing but
consequences are known, a rank that has gone is about to be noticed by its silence, so they wait for that.
"""

from collections.abc import Sequence

from runtime.cluster.messages import Fault, Heartbeat, Member, RootCause
from runtime.errors import InputError
from runtime.fault import Accused, verdict

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
        self._faults: dict[int, tuple[float, Fault]] = {}
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
            if beat.fault:
                self._blame(beat.fault, now_s)
            if (silent_s := now_s - self._heard[rank][1]) > self._timeout_s:
                self._silent.add(rank)
                self._blame(Fault(rank, "stage", silence(silent_s)), now_s)
        for beat in heartbeats:
            if beat.gone is not None and not heartbeats[beat.gone].left:
                self._gone.add(beat.gone)
                self._blame(Fault(beat.gone, "stage", _GONE), now_s)
        if not self._faults and all(beat.waits_for and beat.waits_s > self._stall_s for beat in heartbeats):
            rank = max(range(len(heartbeats)), key=lambda rank: heartbeats[rank].waits_s)
            reason = (
                f"{heartbeats[rank].waits_for} has taken {heartbeats[rank].waits_s:.0f} s, and every other rank waits, "
                "too: the network between this rank and a neighbour is down"
            )
            self._blame(Fault(rank, "stage", reason), now_s)

    def root_cause(self, now_s: float) -> RootCause | None:
        """Return the root cause, once enough is known to tell it."""
        if not self._faults:
            return None
        faults = list(self._faults.values())
        own = [at_s for at_s, fault in faults if fault.cause != "neighbour"]
        if now_s < (min(own) + GRACE_S if own else min(at_s for at_s, _ in faults) + self._timeout_s + GRACE_S):
            return None
        if len(self._silent) == len(self._members) - 1 > 1:
            return RootCause(self._sentence(Fault(self._here, "stage", _CUT_OFF)))
        error = verdict([self._accused(fault, at_s) for at_s, fault in faults])
        reasons = {fault.reason for _, fault in faults}
        if error.exit_code == InputError.exit_code and len(faults) == len(self._members) and len(reasons) == 1:
            return RootCause(reasons.pop(), exit_code=error.exit_code)  # all say the same, so none is named
        return RootCause(str(error), tuple(getattr(error, "__notes__", ())), error.exit_code)

    def _accused(self, fault: Fault, at_s: float) -> Accused:
        sentence = self._sentence(fault)
        return Accused(sentence=sentence, beside=sentence, cause=fault.cause, at_s=at_s, notes=fault.notes)

    def _blame(self, fault: Fault, now_s: float) -> None:
        self._faults.setdefault(fault.rank, (now_s, fault))

    def _sentence(self, fault: Fault) -> str:
        return f"{self._members[fault.rank]}: {fault.reason}"


def silence(for_s: float) -> str:
    """Return the sentence that says how long a rank has been silent."""
    return f"nothing heard of it for {for_s:.0f} s: its host or the network to it is down, or its process is stopped"
