"""Let the ranks of a run meet in the launcher's store, and connect them over gloo.

Rank 0 draws a key for the run, so that what an earlier attempt has left in the store is nobody's. A rank that is
missing, late, or there twice is named on every rank that can be reached.
"""

import importlib
import os
import secrets
import socket
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

import psutil

import runtime.channels
from profiler.errors import one_line
from runtime.channels import Rendezvous
from runtime.cluster.errand import Errand
from runtime.cluster.messages import Heartbeat, Member, decoded, encoded
from runtime.cluster.rank_session import (
    ARRIVAL,
    BEAT_S,
    HEARTBEAT,
    LEAD,
    ROOT_CAUSE,
    RankSession,
    leave,
    root_cause_in,
    settled,
)
from runtime.cluster.torchrun import Placement
from runtime.errors import InputError
from runtime.failure import Failure

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

_KEY, _RUN, _MET = "stageplan", "run", "met"
_POLL_S = 0.02
_ALIVE_S = 3.0
"""A rank that has come gives signs of life more often, even in a store that answers after 0.2 s."""
_LIFELONG = timedelta(days=3650)
"""Of gloo: a rank that watches another one waits for as long as the run lasts."""
_ANSWER_S = 5.0
"""How long an answer may take once the time is up."""


def meet(place: Placement, timeout_s: float, stall_s: float) -> RankSession:
    """Meet the other ranks.

    Args:
        place: This rank's place.
        timeout_s: How long a rank may be late, and silent later on.
        stall_s: How long all may wait for each other.
    """
    importlib.import_module("torch.distributed")  # which takes seconds, before they count
    deadline = time.monotonic() + timeout_s

    def in_time() -> None:
        if time.monotonic() > deadline + _ANSWER_S:
            raise TimeoutError("no answer")

    try:
        return Errand(lambda: _Meeting(place, deadline).session(timeout_s, stall_s)).answer(in_time)
    except (RuntimeError, OSError, ValueError) as error:  # of torch, of the network, of keys that are another program's
        raise InputError(
            f"rank {place.rank} on {socket.gethostname()} cannot meet the others at {place.master}:{place.port} within "
            f"{timeout_s:.0f} s ({one_line(error)}); rank 0's host or the network to it is down, rank 0 has given up, "
            "or the port is another program's: look at what rank 0 says, or choose another --master-port"
        ) from error


class _Meeting:
    """One rank on its way into the run."""

    def __init__(self, place: Placement, deadline: float) -> None:
        """Open the launcher's store; on rank 0 of a launcher that opens none, a new one."""
        from torch.distributed import PrefixStore, TCPStore

        self._place, self._deadline, self._key = place, deadline, ""
        # Not torch's own way, which waits for all ranks and cannot say which is missing.
        patience_s = max(1.0, deadline - time.monotonic())
        if place.rank == LEAD and not place.has_store:
            store = runtime.channels.listening_store(place.master, place.port, patience_s)
        else:
            store = TCPStore(place.master, place.port, is_master=False, timeout=timedelta(seconds=patience_s))
        self._store = self._run = PrefixStore(_KEY, store)
        address = _own_address(place)
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        self._here = Member(place.rank, socket.gethostname(), address, boot, secrets.token_hex(4))
        self._heartbeats = [HEARTBEAT.format(rank) for rank in range(place.world_size)]
        self._heard: dict[int, tuple[bytes, float]] = {}
        if interface := _interface(address):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)

    def session(self, timeout_s: float, stall_s: float) -> RankSession:
        """Meet the others, and return the session; arguments as of ``meet``."""
        place, members = self._place, self._members()
        rendezvous = Rendezvous(
            host=place.master, port=place.port, prefix=f"{_KEY}/{self._key}/stages",
            interface=os.environ.get("GLOO_SOCKET_IFNAME", ""),
        )  # fmt: skip
        return RankSession(
            place, members, self._run, self._connected, rendezvous, timeout_s=timeout_s, stall_s=stall_s
        )  # fmt: skip

    def _connected(self) -> "ProcessGroup":
        try:
            from torch.distributed import PrefixStore, ProcessGroupGloo

            for name in filter(None, os.environ.get("GLOO_SOCKET_IFNAME", "").split(",")):
                ProcessGroupGloo.create_device(interface=name)
        except (ImportError, RuntimeError) as error:
            raise InputError(
                f"gloo cannot be used here: {one_line(error)}; check GLOO_SOCKET_IFNAME, or install a torch with gloo"
            ) from error
        place, store = self._place, PrefixStore("ranks", self._run)
        # It has all methods of a process group, though the types that torch declares do not say so.
        return cast("ProcessGroup", ProcessGroupGloo(store, place.rank, place.world_size, _LIFELONG))

    def _members(self) -> list[Member]:
        """Wait until rank 0 has seen all come to the run whose key it has drawn last; return who they are."""
        from torch.distributed import PrefixStore

        size, leads = self._place.world_size, self._place.rank == LEAD
        if leads:
            self._store.set(_RUN, f"{secrets.token_hex(8)} {size}")
        against, polls = "rank 0 has not opened a run", 0
        while True:
            drawn = self._store.get(_RUN).decode() if self._store.check([_RUN]) else ""
            if drawn != self._key:
                self._key, self._run = drawn, PrefixStore(drawn, self._store)
                against = self._come(int(drawn.partition(" ")[2]))
            if not against:
                self._end_if_over()
                polls += 1
                self._run.set(self._heartbeats[self._place.rank], encoded(Heartbeat(-polls)))
                present = self._present() if leads else []
                if len(present) == size:
                    self._run.set(_MET, "")
                if self._run.check([_MET]):
                    return self._arrivals(range(size))
                if leads and time.monotonic() > self._deadline:
                    self._refuse(self._missing(present))
            elif time.monotonic() > self._deadline:
                raise TimeoutError(against)
            time.sleep(_POLL_S)

    def _come(self, size: int) -> str:
        """Come to a run; returns what is against it, where the run is an earlier attempt's and has ended."""
        if over := root_cause_in(self._run):
            return f"the last run there is over: {over.sentence}"
        if size == self._place.world_size:
            first = settled(self._run, ARRIVAL.format(self._here.rank), self._here)
            if first == self._here:
                return ""
            sentence = f"there are two of a rank: {first} and {self._here}"
        else:
            counts = f"{self._here} counts {self._place.world_size} ranks and rank 0 counts {size}"
            sentence = f"{counts}; start them with one torchrun command"
        lead = [self._heartbeats[LEAD]]
        before = self._run.multi_get(lead) if self._run.check(lead) else []
        time.sleep(4 * BEAT_S)
        alive = self._run.check(lead) and self._run.multi_get(lead) != before
        if alive and not root_cause_in(self._run):
            if self._run.check([_MET]):
                raise InputError(f"{sentence}; the run has begun, and goes on without this one")
            self._refuse(sentence)
        return sentence

    def _present(self) -> list[int]:
        """Return the ranks that give signs of life."""
        now_s = time.monotonic()
        for rank, key in enumerate(self._heartbeats):
            if self._run.check([key]) and (beat := self._run.get(key)) != self._heard.get(rank, (b"", 0.0))[0]:
                self._heard[rank] = beat, now_s if rank in self._heard else now_s - _ALIVE_S
        return [rank for rank, (_, at_s) in self._heard.items() if now_s - at_s < _ALIVE_S]

    def _arrivals(self, ranks: Sequence[int]) -> list[Member]:
        return [decoded(content, Member) for content in self._run.multi_get([ARRIVAL.format(rank) for rank in ranks])]

    def _missing(self, present: Sequence[int]) -> str:
        missing = [str(rank) for rank in range(self._place.world_size) if rank not in present]
        here = ", ".join(map(str, self._arrivals(sorted(present))))
        which = f"rank {missing[0]} has" if len(missing) == 1 else f"ranks {', '.join(missing)} have"
        return f"{which} not come in time; here: {here}. Start the others, or allow more with --rank-timeout"

    def _refuse(self, sentence: str) -> NoReturn:
        """Let all that have come know that there will be no run."""
        settled(self._run, ROOT_CAUSE, Failure(reason=sentence, cause="input"))
        self._end_if_over()
        raise AssertionError

    def _end_if_over(self) -> None:
        over = root_cause_in(self._run)
        if over:
            leave(self._run, len(self._present()) if self._place.rank == LEAD else 0)
            raise InputError(over.sentence)


def _own_address(place: Placement) -> str:
    """Return the address of this host that ``place.master`` stands for: that from which it is reached from here."""
    family, kind, *_, target = socket.getaddrinfo(place.master, place.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(target)  # of a datagram socket: nothing is sent
        return str(probe.getsockname()[0])


def _interface(address: str) -> str:
    """Return the network interface that has ``address``; nothing where none has, and gloo chooses."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(own.address.partition("%")[0] == address for own in addresses):
            return name
    return ""
