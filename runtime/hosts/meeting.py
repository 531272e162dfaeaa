"""Let the ranks of a run meet in the launcher's store, and connect them over gloo.

Rank 0 draws a key for the run, so that what an earlier attempt has left in the store is nobody's, and says when all
have come. A rank that is missing is named on all that have come; one that is there twice, to the second.
"""

import os
import secrets
import socket
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import psutil
from torch.distributed import PrefixStore, ProcessGroupGloo, TCPStore

import runtime.channels
from profiler.errors import one_line
from runtime.channels import Rendezvous
from runtime.errors import Failure, InputError
from runtime.hosts.errand import Errand
from runtime.hosts.judgement import Heartbeat
from runtime.hosts.ranks import HEARTBEAT, MEMBER, OVER, Ranks, decoded, encoded, over_in, settled
from runtime.hosts.session import LEAD, Member
from runtime.hosts.torchrun import Placement

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup, Store

_KEY, _RUN, _MET = "stageplan", "run", "met"
_POLL_S = 0.05
_LIFELONG = timedelta(days=3650)
"""Of gloo: a rank waits for another one for as long as the run lasts; that one is watched."""
_ANSWER_S = 5.0
"""How long an answer may take once the time is up."""


def meet(place: Placement, timeout_s: float, stall_s: float) -> Ranks:
    """Meet the other ranks.

    Args:
        place: This rank's place.
        timeout_s: How long a rank may be late, and silent later on.
        stall_s: How long all may wait for each other.
    """
    deadline = time.monotonic() + timeout_s

    def in_time() -> None:
        if time.monotonic() > deadline + _ANSWER_S:
            raise TimeoutError("no answer")

    try:
        return Errand(lambda: _session(place, deadline, timeout_s, stall_s)).answer(in_time)
    except (RuntimeError, OSError, ValueError) as error:  # of torch, of the network, of keys that are another program's
        raise InputError(
            f"rank {place.rank} on {socket.gethostname()} cannot meet the others at {place.master}:{place.port} within "
            f"{timeout_s:.0f} s ({one_line(error)}); rank 0's host or the network to it is down, rank 0 has given up, "
            "or the port is another program's: look at what rank 0 says, or choose another --master-port"
        ) from error


def _session(place: Placement, deadline: float, timeout_s: float, stall_s: float) -> Ranks:
    store, address = _store(place, deadline), _own_address(place)
    if interface := _interface(address):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    here = Member(place.rank, socket.gethostname(), address, boot, secrets.token_hex(4))
    key, members = _members(store, here, place.world_size, deadline)
    prefix = f"{_KEY}/{key}"
    rendezvous = Rendezvous(
        host=place.master, port=place.port, prefix=f"{prefix}/stages",
        interface=os.environ.get("GLOO_SOCKET_IFNAME", ""),
    )  # fmt: skip
    watched = PrefixStore(prefix, _client(place, deadline))  # of its own: a call of the other may block
    return Ranks(
        members, place.rank, watched, lambda: _connected(place, PrefixStore(f"{prefix}/ranks", store)), rendezvous,
        timeout_s=timeout_s, stall_s=stall_s,
    )  # fmt: skip


def _store(place: Placement, deadline: float) -> "Store":
    """Return the launcher's store; of a launcher that opens none, rank 0's."""
    if place.rank == LEAD and not place.has_store:
        return runtime.channels.listening_store(place.master, place.port, max(1.0, deadline - time.monotonic()))
    return _client(place, deadline)


def _client(place: Placement, deadline: float) -> "Store":
    # Not torch's own way, which waits for all ranks and cannot say which is missing.
    patience = timedelta(seconds=max(1.0, deadline - time.monotonic()))
    return TCPStore(place.master, place.port, is_master=False, timeout=patience)


def _members(whole: "Store", here: Member, size: int, deadline: float) -> tuple[str, list[Member]]:
    """Wait until rank 0 has seen all come to the run whose key it has drawn last; return its key, and who they are."""
    store = run = PrefixStore(_KEY, whole)
    leads, keys = here.rank == LEAD, [MEMBER.format(rank) for rank in range(size)]
    if leads:
        store.set(_RUN, f"{secrets.token_hex(8)} {size}")
    key, against = "", "rank 0 has not opened a run"
    while True:
        drawn = store.get(_RUN).decode() if store.check([_RUN]) else ""
        if drawn != key:
            key, run = drawn, PrefixStore(drawn, store)
            against = _come(run, here, size, int(drawn.partition(" ")[2]))
        if not against:
            if leads and run.check(keys):
                run.set(_MET, "")
            if run.check([_MET]):
                return key, [decoded(content, Member) for content in run.multi_get(keys)]
            if over := over_in(run):
                raise InputError(over.sentence)
        if time.monotonic() > deadline and leads:
            settled(run, OVER, Failure(reason=_missing(run, keys), cause="input"))
            time.sleep(4 * _POLL_S)  # for others to read it: the store ends with this process
        elif against and time.monotonic() > deadline:
            raise TimeoutError(against)
        time.sleep(_POLL_S)


def _come(run: "Store", here: Member, size: int, counted: int) -> str:
    """Come to a run; returns what is against it, where it may be an earlier attempt's that has ended."""
    if over := over_in(run):
        return f"the last run there is over: {over.sentence}"
    if counted != size:
        return f"{here} counts {size} ranks and rank 0 counts {counted}; start them with one torchrun command"
    run.set(HEARTBEAT.format(here.rank), encoded(Heartbeat()))
    first = settled(run, MEMBER.format(here.rank), here)
    return "" if first == here else f"there are two of a rank: {first} and {here}"


def _missing(run: "Store", keys: list[str]) -> str:
    missing = [str(rank) for rank, key in enumerate(keys) if not run.check([key])]
    here = [str(decoded(run.get(key), Member)) for key in keys if run.check([key])]
    which = f"rank {missing[0]} has" if len(missing) == 1 else f"ranks {', '.join(missing)} have"
    return f"{which} not come in time; here: {', '.join(here)}. Start the others, or allow more with --rank-timeout"


def _connected(place: Placement, store: "Store") -> "ProcessGroup":
    try:
        for name in filter(None, os.environ.get("GLOO_SOCKET_IFNAME", "").split(",")):
            ProcessGroupGloo.create_device(interface=name)
    except RuntimeError as error:
        raise InputError(
            f"gloo cannot be used here: {one_line(error)}; check GLOO_SOCKET_IFNAME, or install a torch with gloo"
        ) from error
    # It has all methods of a process group, though the types that torch declares do not say so.
    return cast("ProcessGroup", ProcessGroupGloo(store, place.rank, place.world_size, _LIFELONG))


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
