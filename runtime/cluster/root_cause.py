"""Decide which rank is at fault, from what each has said and how long it has been silent; no clock, no network.

The first fault that is a rank's own counts; a stage that lost its neighbour is only a consequence. Where nothing but
consequences are known, a rank that has gone is about to be noticed by its silence, so they wait for that.
"""

from collections.abc import Mapping, Sequence

from runtime.cluster.protocol import Doing, Fault, Member, RootCause
from runtime.errors import InputError
from runtime.worker import Phase

_CUT_OFF = "nothing heard of any other rank: the network of this host is down"
GRACE_S = 0.5
"""How long others may still speak once a fault is known, so that the worst is told."""
_ORDER = {"stage": 0, "input": 1, "neighbour": 2}


class RootCauseAnalysis:
    """Rank 0's judgement of all ranks."""

    def __init__(self, members: Sequence[Member], timeout_s: float, stall_s: float) -> None:
        """Begin.

        Args:
            members: All ranks.
            timeout_s: How long a rank may be silent.
            stall_s: How long all may wait for each other.
        """
        self._members, self._timeout_s, self._stall_s = members, timeout_s, stall_s
        self._faults: dict[int, tuple[float, Fault]] = {}
        self._silent: set[int] = set()

    def hear(self, fault: Fault, now_s: float) -> None:
        """Take down a rank's fault; only its first counts."""
        self._faults.setdefault(fault.rank, (now_s, fault))

    def note_silence(self, heard_s: Mapping[int, float], now_s: float) -> None:
        """Blame the ranks that have been silent for too long; ``heard_s`` says when each was last heard."""
        for rank, at_s in heard_s.items():
            if now_s - at_s > self._timeout_s:
                self._silent.add(rank)
                self.hear(self.fault_of(rank, silence(now_s - at_s)), now_s)

    def note_standstill(self, doing: Mapping[int, Doing], now_s: float) -> None:
        """Blame the rank that has waited longest, where all have waited for too long."""
        everyone = len(doing) == len(self._members) and not self._faults
        if everyone and all(state.phase == Phase.WAITING and state.for_s > self._stall_s for state in doing.values()):
            rank = max(doing, key=lambda rank: doing[rank].for_s)
            reason = (
                f"{doing[rank].doing} has taken {doing[rank].for_s:.0f} s, and every other rank waits, too: the "
                "network between this rank and a neighbour is down"
            )
            self.hear(self.fault_of(rank, reason), now_s)

    def fault_of(self, rank: int, reason: str) -> Fault:
        """Return the fault of a rank that cannot speak for itself."""
        return Fault(rank, "stage", reason)

    def root_cause(self, now_s: float) -> RootCause | None:
        """Return the root cause, once enough is known to tell it."""
        if not self._faults:
            return None
        faults = sorted(self._faults.values(), key=lambda fault: (_ORDER[fault[1].cause], fault[0]))
        own = [at_s for at_s, fault in faults if fault.cause != "neighbour"]
        if now_s < (min(own) + GRACE_S if own else min(at_s for at_s, _ in faults) + self._timeout_s + GRACE_S):
            return None
        if len(self._silent) == len(self._members) - 1 > 1:
            return RootCause(self.sentence_of(self.fault_of(0, _CUT_OFF)), (), 1)
        (_, first), *others = faults
        if first.cause == "input":
            everyone = len(faults) == len(self._members) and len({fault.reason for _, fault in faults}) == 1
            return RootCause(first.reason if everyone else self.sentence_of(first), (), InputError.exit_code)
        labels = {"neighbour": "a consequence"}
        besides = [f"{labels.get(fault.cause, 'besides')}: {self.sentence_of(fault)}" for _, fault in others]
        return RootCause(self.sentence_of(first), (*first.notes, *besides), 1)

    def sentence_of(self, fault: Fault) -> str:
        """Return a fault in words, with the rank and host that it is of."""
        return f"{self._members[fault.rank]}: {fault.reason}"


def silence(for_s: float) -> str:
    """Return the sentence that says how long a rank has been silent."""
    return f"nothing heard of it for {for_s:.0f} s: its host or the network to it is down, or its process is stopped"
