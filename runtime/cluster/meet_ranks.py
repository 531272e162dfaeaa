"""Let the ranks of a run meet: rank 0 waits for the others where the launcher's store says, and makes the roster.

A rank that is missing, late, or there twice is named on every rank that can be reached.
"""

import hmac
import queue
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import psutil

from profiler.errors import one_line
from runtime.channels import Rendezvous
from runtime.cluster.protocol import Connection, Hello, Member, RootCause, Roster
from runtime.cluster.rank_session import FINISH_S, LEAD, RankSession
from runtime.cluster.torchrun import Placement
from runtime.errors import InputError

if TYPE_CHECKING:
    from torch.distributed import Store

T = TypeVar("T")
_KEY = "stageplan"
_HELLO_S = 5.0
"""How long a rank that has connected may take to say its name."""
_RETRY_S = 0.2
_ADDRESS, _GIVEN_UP = "connection", "given up"
_STUCK = 4
"""A connection counts as broken when a message is stuck for the time that a rank may be silent, divided by this."""


def meet(place: Placement, timeout_s: float, stall_s: float) -> RankSession:
    """Meet the other ranks.

    Args:
        place: This rank's place.
        timeout_s: How long a rank may be late, and silent later on.
        stall_s: How long all may wait for each other.

    Raises:
        InputError: Not all ranks have come in time, or rank 0 cannot be reached.
    """
    deadline = time.monotonic() + timeout_s
    try:
        store = _in_time(deadline, lambda: _store(place, timeout_s))
        members, connections = _lead(place, store, deadline) if place.rank == LEAD else _follow(place, store, deadline)
    except (RuntimeError, OSError, EOFError, msgspec.MsgspecError) as error:
        raise _unmet(place, timeout_s, error) from error
    for connection in connections.values():
        connection.be_patient(timeout_s / _STUCK)
    rendezvous = Rendezvous(
        host=place.master,
        port=place.port,
        prefix=f"{_KEY}/{place.attempt}/stages",
        interface=_interface(members[place.rank].address),
    )
    return RankSession(place.rank, members, connections, rendezvous, timeout_s=timeout_s, stall_s=stall_s, store=store)


def _store(place: Placement, timeout_s: float) -> "Store":
    """Return the launcher's store; on rank 0 of a launcher that opens none, a new one.

    Not torch's own way there, which waits for all ranks and cannot say which is missing.
    """
    from torch.distributed import PrefixStore, TCPStore

    opens = place.rank == LEAD and not place.has_store
    if not opens:
        _wait_for_port(place, timeout_s)
    store = TCPStore(
        place.master, place.port, is_master=opens, wait_for_workers=False, timeout=timedelta(seconds=timeout_s)
    )
    return PrefixStore(f"{_KEY}/{place.attempt}", store)


def _in_time(deadline: float, ask: Callable[[], T]) -> T:
    """Return what ``ask`` returns, in time: torch's store waits for ever where something else listens, or nothing.

    Raises:
        TimeoutError: It does not.
    """
    answers: queue.SimpleQueue[T | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put(ask())
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
            answers.put(error)

    threading.Thread(target=work, name="stageplan-rendezvous", daemon=True).start()
    try:
        answer = answers.get(timeout=max(0.1, deadline + _HELLO_S - time.monotonic()))
    except queue.Empty:
        raise TimeoutError("no answer") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _wait_for_port(place: Placement, timeout_s: float) -> None:
    """Wait until something listens where the store is to be; torch's own client would fill the screen meanwhile."""
    deadline = time.monotonic() + timeout_s
    while True:
        left_s = max(0.1, deadline - time.monotonic())
        try:
            socket.create_connection((place.master, place.port), timeout=left_s).close()
        except OSError:
            if time.monotonic() + _RETRY_S > deadline:
                raise
            time.sleep(_RETRY_S)
        else:
            return


def _unmet(place: Placement, timeout_s: float, error: BaseException) -> InputError:
    return InputError(
        f"rank {place.rank} on {socket.gethostname()} cannot meet the others at {place.master}:{place.port} within "
        f"{timeout_s:.0f} s ({one_line(error)}); rank 0's host or the network to it is down, rank 0 has given up, or "
        "the port is another program's: look at what rank 0 says, or choose another --master-port"
    )


def _lead(place: Placement, store: "Store", deadline: float) -> tuple[list[Member], dict[int, Connection]]:
    """Wait for every other rank to come."""
    token = secrets.token_hex(16)
    family = socket.getaddrinfo(place.master, place.port, type=socket.SOCK_STREAM)[0][0]
    connections: dict[int, Connection] = {}
    members: dict[int, Member] = {}
    with socket.create_server(("", 0), family=family, backlog=place.world_size) as server:
        port = server.getsockname()[1]
        _in_time(deadline, lambda: store.set(_ADDRESS, f"{port} {token}"))
        members[LEAD] = _this(LEAD, _own_address(place))
        while len(members) < place.world_size and (left := deadline - time.monotonic()) > 0:
            server.settimeout(left)
            with suppress(OSError, EOFError, msgspec.MsgspecError):  # a stranger, or nobody in time
                end, _ = server.accept()
                connection = Connection(end, _HELLO_S)
                hello = connection.receive()
                if not isinstance(hello, Hello) or not hmac.compare_digest(hello.token, token):
                    connection.close()
                    continue
                member = Member(hello.rank, hello.host, hello.address, hello.boot)
                if hello.rank in members:
                    _send_away(
                        [*connections.values(), connection],
                        f"there are two of a rank: {members[hello.rank]} and {member}",
                    )
                if hello.world_size != place.world_size:
                    sentence = f"{member} counts {hello.world_size} ranks and {members[LEAD]} counts {place.world_size}"
                    _send_away([*connections.values(), connection], f"{sentence}; start them with one torchrun command")
                connections[hello.rank], members[hello.rank] = connection, member
    missing = [rank for rank in range(place.world_size) if rank not in members]
    if missing:
        here = ", ".join(str(members[rank]) for rank in sorted(members))
        which = f"rank {missing[0]} has" if len(missing) == 1 else f"ranks {', '.join(map(str, missing))} have"
        sentence = f"{which} not come in time; here: {here}. Start the others, or allow more with --rank-timeout"
        with suppress(RuntimeError, TimeoutError):
            _in_time(deadline, lambda: store.set(_GIVEN_UP, sentence))
        _send_away(list(connections.values()), sentence)
    roster = Roster(tuple(members[rank] for rank in range(place.world_size)))
    for connection in connections.values():
        connection.send(roster)
    return list(roster.members), connections


def _follow(place: Placement, store: "Store", deadline: float) -> tuple[list[Member], dict[int, Connection]]:
    """Come to rank 0."""
    port, token = _in_time(deadline, lambda: _address_of_rank_0(place, store, deadline))
    left = max(1.0, deadline - time.monotonic())
    connection = Connection(socket.create_connection((place.master, int(port)), timeout=left), left + _HELLO_S)
    here = _this(place.rank, connection.near)
    try:
        connection.send(Hello(place.rank, place.world_size, token, here.host, here.address, here.boot))
        return list(_roster(connection).members), {LEAD: connection}
    except BaseException:
        connection.close()
        raise


def _roster(connection: Connection) -> Roster:
    answer = connection.receive()
    if isinstance(answer, RootCause):
        raise InputError(answer.sentence)
    if not isinstance(answer, Roster):
        raise OSError("rank 0 answers in another language")
    return answer


def _address_of_rank_0(place: Placement, store: "Store", deadline: float) -> tuple[str, str]:
    """Return the port of rank 0's connection, and what it wants to hear there."""
    store.wait([_ADDRESS], timedelta(seconds=max(1.0, deadline - time.monotonic())))
    if store.check([_GIVEN_UP]):
        raise InputError(
            f"rank {place.rank} on {socket.gethostname()} has come too late: {store.get(_GIVEN_UP).decode()}"
        )
    port, token = store.get(_ADDRESS).decode().split()
    return port, token


def _send_away(connections: list[Connection], sentence: str) -> None:
    """Let all that have come know that there will be no run.

    Raises:
        InputError: Always, with the same sentence.
    """
    for connection in connections:
        with suppress(OSError):
            connection.send(RootCause(sentence, (), InputError.exit_code))
        connection.finish()
    deadline = time.monotonic() + FINISH_S
    for connection in connections:
        connection.drain(deadline)
        connection.close()
    raise InputError(sentence)


def _this(rank: int, address: str) -> Member:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return Member(rank, socket.gethostname(), address, boot)


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
