"""Ranks as threads of this process, over real sockets: what they exchange, and how they end together."""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from strategies import chain

from optimizer.planning import Planner
from profiler.settings import Config, UpdateRule
from runtime.channels import Rendezvous
from runtime.cluster import RankSession, agree
from runtime.cluster.meet_ranks import meet
from runtime.cluster.protocol import Connection, Hello, Member
from runtime.cluster.rank_session import LEAD
from runtime.cluster.torchrun import Placement
from runtime.errors import InputError, NeighbourGone, RunError
from runtime.pipeline import agree_on_plan
from runtime.worker import Settings

MEETING = Rendezvous(host="", port=0, prefix="", interface="")
TIMEOUT_S = 20.0
Deed = Callable[[RankSession], Any]


def run(deeds: Sequence[Deed], timeout_s: float = TIMEOUT_S, stall_s: float = 1e3) -> list[Any]:
    """Let a rank each do its deed; return what it gave or raised."""
    members = [Member(rank, f"h{rank}", "127.0.0.1", "boot") for rank in range(len(deeds))]
    connections: list[dict[int, Connection]] = [{} for _ in deeds]
    with socket.create_server(("127.0.0.1", 0)) as server:
        for rank in range(1, len(deeds)):
            connections[rank][LEAD] = Connection(socket.create_connection(server.getsockname()), timeout_s)
            connections[LEAD][rank] = Connection(server.accept()[0], timeout_s)
    found: list[Any] = [None] * len(deeds)

    def be(rank: int) -> None:
        session = RankSession(rank, members, connections[rank], MEETING, timeout_s=timeout_s, stall_s=stall_s)
        try:
            with session.ending_together():
                found[rank] = deeds[rank](session)
        except Exception as error:  # noqa: BLE001 - each rank's end is looked at
            found[rank] = error

    together(be, len(deeds))
    return found


def together(be: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=be, args=(rank,), daemon=True) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a rank hangs"


def test_every_rank_gets_what_all_have_contributed_in_their_order() -> None:
    def deed(session: RankSession) -> list[list[str]]:
        time.sleep(0.05 * (3 - session.rank))
        return [session.exchange(topic, f"{topic}{session.rank}", str) for topic in ("a", "b")]

    wanted = [[f"{topic}{rank}" for rank in range(4)] for topic in ("a", "b")]
    assert run([deed] * 4) == [wanted] * 4


def test_memory_of_all_ranks_is_put_together_in_the_first() -> None:
    size = 9_000_000

    def deed(session: RankSession) -> bytes:
        memory = bytearray(b"." * size)
        start = session.rank * 3_000_000
        memory[start : start + 3_000_000] = bytes([65 + session.rank]) * 3_000_000
        session.put_together("state", memoryview(memory), [(start, 1_500_000), (start + 2_000_000, 7)])
        return bytes(memory)

    first, *_ = run([deed] * 3)
    theirs = [part * 1_500_000 + b"." * 500_000 + part * 7 + b"." * 999_993 for part in (b"B", b"C")]
    assert first == b"A" * 3_000_000 + b"".join(theirs)


@pytest.mark.parametrize(("precision", "refused"), [("bf16", True), ("fp32", False)])
def test_ranks_that_multiply_bfloat16_with_other_instructions_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, precision: str, refused: bool  # noqa: FBT001
) -> None:  # fmt: skip
    here = threading.local()
    monkeypatch.setattr("runtime.pipeline.plan_differences.bfloat16_instructions", lambda: here.instructions)
    plan = replace(Planner(chain([1, 2, 3]), 3, 4).optimized(), precision=precision)
    rule = UpdateRule(lr=0.1)

    def deed(session: RankSession) -> None:
        here.instructions = "avx512_bf16" if session.rank == 2 else "amx_bf16"
        agree_on_plan(session, plan, Config(model="alexnet"), Settings(rule=rule, seed=0))

    for error in run([deed] * 3):
        if not refused:
            assert error is None
        else:
            assert isinstance(error, InputError)
            said = "rank 2 on h2 (127.0.0.1) has another set of instructions for bfloat16 (avx512_bf16) than rank 0 on"
            assert said in str(error)


def test_clocks_of_one_machine_agree_within_the_error_that_is_told() -> None:
    found = run([lambda session: session.clock()] * 4)
    assert found[0] == (0.0, 0.0)
    for offset_s, error_s in found[1:]:
        assert 0 < error_s < TIMEOUT_S
        assert abs(offset_s) <= error_s


def fails(error: BaseException) -> Deed:
    def deed(_: RankSession) -> None:
        raise error

    return deed


def waits(session: RankSession) -> None:
    session.exchange("never", None, type(None))


@pytest.mark.parametrize("guilty", [0, 2])
def test_a_rank_that_fails_ends_all_with_one_sentence(guilty: int) -> None:
    deeds: list[Deed] = [waits] * 4
    deeds[guilty] = fails(RunError("the stage raised"))
    deeds[1] = fails(NeighbourGone("a neighbouring stage has gone"))
    found = run(deeds)
    assert {str(one) for one in found} == {f"rank {guilty} on h{guilty} (127.0.0.1): the stage raised"}
    assert {type(one) for one in found} == {RunError}


def test_bad_input_is_bad_input_everywhere() -> None:
    found = run([waits, waits, fails(InputError("plan.json cannot be read"))])
    assert {(str(one), one.exit_code) for one in found} == {
        ("rank 2 on h2 (127.0.0.1): plan.json cannot be read", 2)
    }  # fmt: skip


def test_what_is_a_bug_stays_one_where_it_is_and_is_told_elsewhere() -> None:
    found = run([waits, fails(ZeroDivisionError("by zero"))])
    assert isinstance(found[1], ZeroDivisionError)
    assert str(found[0]) == "rank 1 on h1 (127.0.0.1): ZeroDivisionError: by zero"


@pytest.mark.parametrize("gone", [0, 1])
def test_a_line_that_breaks_is_told_of_the_rank_behind_it(gone: int) -> None:
    def leave(session: RankSession) -> None:
        for connection in list(session._connections.values()):
            connection.break_off()
        waits(session)

    deeds: list[Deed] = [waits] * 3
    deeds[gone] = leave
    found = run(deeds)
    others = [str(one) for rank, one in enumerate(found) if rank != gone]
    assert len(set(others)) == 1
    assert others[0].startswith(f"rank {gone} on h{gone} (127.0.0.1): its process has ended without a word")


@pytest.mark.parametrize("mute", [0, 1])
def test_a_rank_that_falls_silent_is_given_up(mute: int) -> None:
    def fall_silent(session: RankSession) -> None:
        session._open = False  # as a host whose cable was pulled: the connections stay up, and nothing comes
        session._thread.join()
        time.sleep(4)
        raise RunError("mute")

    deeds: list[Deed] = [waits] * 3
    deeds[mute] = fall_silent
    found = run(deeds, timeout_s=2.0)
    others = [str(one) for rank, one in enumerate(found) if rank != mute]
    assert all(one.startswith(f"rank {mute} on h{mute} (127.0.0.1): nothing heard of it for 2 s") for one in others)


def test_facts_that_differ_name_the_rank_that_is_alone_with_its_own() -> None:
    def deed(plan: str) -> Deed:
        return lambda session: agree(session, "facts", {"torch": "2.14.1", "plan": plan})

    assert run([deed("aaaa")] * 3) == [None] * 3
    for odd in range(3):
        plans = ["aaaa"] * 3
        plans[odd] = "bbbbccccddddeeee"
        found = run([deed(plan) for plan in plans])
        other = 1 if odd == 0 else 0
        said = f"rank {odd} on h{odd} (127.0.0.1) has another plan (bbbbccccdddd) than rank {other} on h{other} (127"
        assert all(str(one).startswith(said) for one in found)
        assert len({str(one) for one in found}) == 1
        assert {one.exit_code for one in found} == {2}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def place(rank: int, size: int, port: int) -> Placement:
    return Placement(
        rank=rank, world_size=size, local_rank=rank, local_world_size=size, master="127.0.0.1", port=port, attempt=0,
        has_store=False,
    )  # fmt: skip


def met(ranks: Sequence[int], size: int, timeout_s: float, port: int | None = None) -> list[Any]:
    """Let some ranks meet; return each one's roster, or what it raised."""
    found: list[Any] = [None] * len(ranks)
    port = port or free_port()

    def be(at: int) -> None:
        try:
            session = meet(place(ranks[at], size, port), timeout_s, 1e3)
            with session.ending_together():
                found[at] = (session.rank, session.members, session.rendezvous)
        except Exception as error:  # noqa: BLE001 - each rank's end is looked at
            found[at] = error

    together(be, len(ranks))
    return found


def test_ranks_meet_and_know_each_other() -> None:
    found = met(range(3), 3, TIMEOUT_S)
    assert [rank for rank, _, _ in found] == [0, 1, 2]
    assert len({members for _, members, _ in found}) == 1
    assert [one.rank for one in found[0][1]] == [0, 1, 2]
    assert {rendezvous.interface for _, _, rendezvous in found} == {"lo"}


def test_a_missing_rank_is_named_on_all_that_have_come() -> None:
    found = met([0, 1, 3], 4, 2.0)
    assert len({str(one) for one in found}) == 1
    assert str(found[0]).startswith("rank 2 has not come in time; here: rank 0 on ")
    assert {one.exit_code for one in found} == {2}


def test_a_rank_that_counts_others_is_told() -> None:
    port = free_port()
    found: list[Any] = [None] * 2

    def be(rank: int) -> None:
        try:
            meet(place(rank, 2 + rank, port), TIMEOUT_S, 1e3)
        except InputError as error:
            found[rank] = str(error)

    together(be, 2)
    assert found[0] == found[1]
    assert "counts 3 ranks and rank 0 on " in found[0]


def test_two_of_a_rank_are_told() -> None:
    found = met([0, 1, 1], 3, TIMEOUT_S)
    assert {str(one).partition(":")[0] for one in found} == {"there are two of a rank"}


def test_a_rank_whose_first_is_not_there_says_so() -> None:
    (found,) = met([1], 2, 1.0)
    assert isinstance(found, InputError)
    assert str(found).startswith("rank 1 on ")
    assert "cannot meet the others at 127.0.0.1:" in str(found)


def test_a_port_that_another_program_has_is_told_on_every_rank() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = met([0, 1], 2, 3.0, server.getsockname()[1])
    assert all(isinstance(one, InputError) for one in found)
    assert all("the port is another program's" in str(one) for one in found)


def test_a_stranger_at_the_line_does_no_harm() -> None:
    port = free_port()
    done = threading.Event()

    def bother() -> None:
        while not done.is_set():
            for listening in ports():
                with suppress(OSError, EOFError):
                    connection = Connection(socket.create_connection(("127.0.0.1", listening), timeout=1), 1.0)
                    connection.send(Hello(1, 3, "no token", "elsewhere", "", ""))
                    connection.close()
                    with socket.create_connection(("127.0.0.1", listening), timeout=1) as end:
                        end.sendall(b"GET / HTTP/1.1\r\n\r\n")
            time.sleep(0.05)

    thread = threading.Thread(target=bother, daemon=True)
    thread.start()
    try:
        found = met(range(3), 3, TIMEOUT_S, port)
    finally:
        done.set()
        thread.join()
    assert [rank for rank, _, _ in found] == [0, 1, 2]


def ports() -> set[int]:
    import psutil

    found = psutil.Process().net_connections(kind="inet")
    return {one.laddr.port for one in found if one.status == psutil.CONN_LISTEN}
