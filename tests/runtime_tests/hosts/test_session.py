"""Ranks as threads of this process, over a real store and gloo: what they exchange, and how they end together."""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from ports import listening, reserved_port
from strategies import chain
from torch.distributed import PrefixStore, ProcessGroupGloo, TCPStore

from optimizer.planning import Planner
from profiler.profile import Precision
from profiler.settings import Config, UpdateRule
from runtime.channels import Rendezvous
from runtime.errors import InputError, NeighbourGone, RunError
from runtime.hosts import Ranks, agree, agree_on_plan
from runtime.hosts.meeting import meet
from runtime.hosts.session import Member
from runtime.hosts.torchrun import Placement
from runtime.worker import Settings

MEETING = Rendezvous(host="", port=0, prefix="", interface="")
TIMEOUT_S = 20.0
CLOSE_S = 0.01
Deed = Callable[[Ranks], Any]


def run(deeds: Sequence[Deed], timeout_s: float = TIMEOUT_S, stall_s: float = 1e3) -> list[Any]:
    """Let a rank each do its deed; return what it gave or raised."""
    members = [Member(rank, f"h{rank}", "127.0.0.1", "boot") for rank in range(len(deeds))]
    whole = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    stores = [TCPStore("127.0.0.1", whole.port, is_master=False) for _ in deeds]
    found: list[Any] = [None] * len(deeds)

    def be(rank: int) -> None:
        stores[rank].set(f"heartbeat {rank}", "{}")
        group = ProcessGroupGloo(PrefixStore("gloo", stores[rank]), rank, len(deeds), timedelta(seconds=100))
        session = Ranks(
            members, rank, stores[rank], lambda: group, MEETING, timeout_s=timeout_s, stall_s=stall_s  # type: ignore[arg-type, return-value]
        )  # fmt: skip
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
    def deed(session: Ranks) -> list[list[str]]:
        time.sleep(0.05 * (3 - session.rank))
        return [session.exchange(f"{topic}{session.rank}", str) for topic in ("a", "b")]

    wanted = [[f"{topic}{rank}" for rank in range(4)] for topic in ("a", "b")]
    assert run([deed] * 4) == [wanted] * 4


def test_memory_of_all_ranks_is_put_together_in_the_first() -> None:
    size = 9_000_000

    def deed(session: Ranks) -> bytes:
        memory = bytearray(b"." * size)
        start = session.rank * 3_000_000
        memory[start : start + 3_000_000] = bytes([65 + session.rank]) * 3_000_000
        session.put_together(memoryview(memory), [(start, 1_500_000), (start + 2_000_000, 7)])
        return bytes(memory)

    first, *_ = run([deed] * 3)
    theirs = [part * 1_500_000 + b"." * 500_000 + part * 7 + b"." * 999_993 for part in (b"B", b"C")]
    assert first == b"A" * 3_000_000 + b"".join(theirs)


@pytest.mark.parametrize(("precision", "refused"), [("bf16", True), ("fp32", False)])
def test_ranks_that_multiply_bfloat16_with_other_instructions_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, precision: Precision, refused: bool  # noqa: FBT001
) -> None:  # fmt: skip
    here = threading.local()
    monkeypatch.setattr("runtime.hosts.agreement.bfloat16_instructions", lambda: here.instructions)
    plan = replace(Planner(chain([1, 2, 3]), 3, 4).optimized(), precision=precision)
    rule = UpdateRule(lr=0.1)

    def deed(session: Ranks) -> None:
        here.instructions = "avx512_bf16" if session.rank == 2 else "amx_bf16"
        agree_on_plan(session, plan, Config(model="alexnet", cores=(session.rank,)), Settings(rule=rule, seed=0))

    for error in run([deed] * 3):
        if not refused:
            assert error is None
        else:
            assert isinstance(error, InputError)
            said = "rank 2 on h2 (127.0.0.1) has another set of instructions for bfloat16 (avx512_bf16) than rank 0 on"
            assert said in str(error)


def test_clocks_of_one_machine_agree() -> None:
    first, *others = run([lambda session: session.clock()] * 4)
    assert first == 0.0
    assert all(abs(offset_s) < CLOSE_S for offset_s in others)


def test_what_the_first_rank_has_is_spread_over_all() -> None:
    content = bytes(range(256)) * 100_000
    found = run([lambda session: session.spread(content if session.leads else b"")] * 3)
    assert found == [content] * 3
    assert run([lambda session: session.spread(b"")] * 2) == [b"", b""]


def fails(error: BaseException) -> Deed:
    def deed(_: Ranks) -> None:
        raise error

    return deed


def waits(session: Ranks) -> None:
    session.exchange(None, type(None))


@pytest.mark.parametrize("guilty", [0, 2])
def test_a_rank_that_fails_ends_all_with_one_sentence(guilty: int) -> None:
    deeds: list[Deed] = [waits] * 4
    deeds[guilty] = fails(RunError("the stage raised"))
    deeds[1] = fails(NeighbourGone("a neighbouring stage has gone"))
    found = run(deeds)
    assert {str(one) for one in found} == {f"rank {guilty} on h{guilty} (127.0.0.1): the stage raised"}
    assert {type(one) for one in found} == {RunError}


def test_what_is_a_bug_stays_one_where_it_is_and_is_told_elsewhere() -> None:
    found = run([waits, fails(ZeroDivisionError("by zero"))])
    assert isinstance(found[1], ZeroDivisionError)
    assert str(found[0]) == "rank 1 on h1 (127.0.0.1): ZeroDivisionError: by zero"


@pytest.mark.slow
@pytest.mark.parametrize("mute", [0, 1])
def test_a_rank_that_falls_silent_is_given_up(mute: int) -> None:
    def fall_silent(session: Ranks) -> None:
        session._listen = lambda: time.sleep(4)  # type: ignore[method-assign]  # as a process that is stopped
        time.sleep(4)
        raise RunError("mute")

    deeds: list[Deed] = [waits] * 3
    deeds[mute] = fall_silent
    found = run(deeds, timeout_s=2.0)
    others = [str(one) for rank, one in enumerate(found) if rank != mute]
    said = f"rank {mute} on h{mute} (127.0.0.1): nothing heard of it for 2"
    assert [one.partition(" s:")[0] for one in others] == [said] * 2


def test_facts_that_differ_name_the_rank_that_is_alone_with_its_own() -> None:
    def deed(plan: str) -> Deed:
        return lambda session: agree(session, {"torch": "2.14.1", "plan": plan})

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


def place(rank: int, size: int, port: int, *, has_store: bool = False) -> Placement:
    return Placement(
        rank=rank, world_size=size, local_rank=rank, master="127.0.0.1", port=port,
        has_store=has_store,
    )  # fmt: skip


def met(
    ranks: Sequence[int],
    size: int | list[int],
    timeout_s: float,
    port: int | None = None,
    *,
    has_store: bool = False,
    deed: Deed = lambda session: (session.rank, session.members, session.rendezvous),
) -> list[Any]:
    """Let some ranks meet and do a deed; return what each one's gave, or what it raised."""
    found: list[Any] = [None] * len(ranks)
    sizes = size if isinstance(size, list) else [size] * len(ranks)

    def be(at: int) -> None:
        try:
            session = meet(place(ranks[at], sizes[at], port or free, has_store=has_store), timeout_s, 1e3)
            with session.ending_together():
                found[at] = deed(session)
        except Exception as error:  # noqa: BLE001 - each rank's end is looked at
            found[at] = error

    with reserved_port() as free:
        together(be, len(ranks))
    return found


def test_ranks_meet_and_know_each_other() -> None:
    found = met(range(3), 3, TIMEOUT_S)
    assert [rank for rank, *_ in found] == [0, 1, 2]
    assert len({members for _, members, *_ in found}) == 1
    assert [one.rank for one in found[0][1]] == [0, 1, 2]
    assert {rendezvous.interface for *_, rendezvous in found} == {"lo"}


def test_ranks_listen_at_the_master_address_only() -> None:
    others = listening()  # what an earlier test has left may be closed meanwhile
    found = met([0, 1], 2, TIMEOUT_S, deed=lambda _session: listening())
    assert [{ip for ip, _ in addresses - others} for addresses in found] == [{"127.0.0.1"}] * 2


def test_an_interface_that_is_not_there_is_told_on_every_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "nope0")
    found = met([0, 1], 2, TIMEOUT_S)
    assert len({str(one) for one in found}) == 1
    assert {one.exit_code for one in found} == {2}
    assert "gloo cannot be used here: " in str(found[0])
    assert "check GLOO_SOCKET_IFNAME" in str(found[0])


@pytest.mark.slow
def test_ranks_of_two_projects_on_one_port_are_told() -> None:
    found = met([0, 1, 0, 1], 3, 2.0)  # the third of each is still to come
    assert {one.exit_code for one in found} == {2}
    assert sum("cannot meet the others" in str(one) for one in found) >= 2, "the second project has no store of its own"


def test_a_missing_rank_is_named_on_all_that_have_come() -> None:
    found = met([0, 1, 3], 4, 2.0)
    assert len({str(one) for one in found}) == 1
    assert str(found[0]).startswith("rank 2 has not come in time; here: rank 0 on ")
    assert {one.exit_code for one in found} == {2}


def test_a_rank_that_counts_others_is_told() -> None:
    found = [str(one) for one in met([0, 1], [2, 3], 1.0)]
    assert found[0].startswith("rank 1 has not come in time; here: rank 0 on ")
    assert "counts 3 ranks and rank 0 counts 2; start them with one torchrun command" in found[1]


def test_the_second_of_a_rank_is_told() -> None:
    found = met([0, 1, 1], 3, 1.0)
    assert sum("there are two of a rank: rank 1 on " in str(one) for one in found) == 1
    assert sum(str(one).startswith("rank 2 has not come in time") for one in found) == 2


@pytest.mark.slow
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


def test_ranks_that_a_launcher_starts_anew_meet_again_in_its_store() -> None:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    for _ in range(2):
        found = met(range(3), 3, TIMEOUT_S, store.port, has_store=True)
        assert [rank for rank, *_ in found] == [0, 1, 2]


@pytest.mark.slow
def test_a_rank_that_is_earlier_than_the_first_of_a_new_attempt_waits_for_it() -> None:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    met([0], 2, 0.5, store.port, has_store=True)
    store.set("stageplan/run", "killed 2")  # and an attempt that had no time to say that it is over
    store.set("stageplan/killed 2/heartbeat 0", "{}")
    store.set("stageplan/killed 2/member 1", '{"rank":1,"host":"h","address":"","boot":""}')
    found: list[Any] = []
    early = threading.Thread(target=lambda: found.extend(met([1], 2, TIMEOUT_S, store.port, has_store=True)))
    early.start()
    time.sleep(1.5)
    (lead,) = met([0], 2, TIMEOUT_S, store.port, has_store=True)
    early.join()
    assert [lead[0], found[0][0]] == [0, 1]


def test_a_rank_that_is_there_twice_while_others_run_is_refused_alone() -> None:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    first: list[Any] = []
    run = threading.Thread(
        target=lambda: first.extend(met([0, 1], 2, TIMEOUT_S, store.port, has_store=True, deed=looks_on))
    )
    run.start()
    time.sleep(1.0)
    (second,) = met([1], 2, 1.5, store.port, has_store=True)
    run.join()
    assert isinstance(second, InputError)
    assert "there are two of a rank: rank 1 on " in str(second)
    assert first == [None, None]


def looks_on(session: Ranks) -> None:
    for _ in range(40):
        session.look()
        time.sleep(0.1)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(range(256)) * 40])
def test_what_answers_garbage_is_no_store(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    with server.accept()[0] as end:
                        end.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        (found,) = met([1], 2, 1.0, server.getsockname()[1])
    assert isinstance(found, InputError)
    assert "the port is another program's" in str(found)


@pytest.mark.parametrize("garbage", ["", "x", "{}", '{"rank":"one"}'])
def test_keys_of_another_program_are_told(garbage: str) -> None:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    store.set("stageplan/run", garbage if garbage == "x" else "key 2")
    for key in ("member 1", "heartbeat 1", "over"):
        store.set(f"stageplan/key 2/{key}", garbage)
    (found,) = met([1], 2, 1.0, store.port, has_store=True)
    assert isinstance(found, InputError)
    assert str(found).startswith("rank 1 on ")
    assert "the port is another program's" in str(found)
