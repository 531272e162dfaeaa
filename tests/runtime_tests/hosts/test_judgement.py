"""Who is at fault, from what ranks have said and how long they have been silent; the clock is made up."""

from collections.abc import Mapping, Sequence

import pytest
from msgspec import structs

from runtime.errors import Failure
from runtime.hosts.judgement import DEAD_S, GRACE_S, Heartbeat, Judge
from runtime.hosts.session import Member

MEMBERS = [Member(rank, f"h{rank}", f"10.0.0.{rank + 1}", "boot") for rank in range(4)]
TIMEOUT_S, STALL_S = 10.0, 20.0


class Listener:
    """A judge that hears every rank each second, except those that are silent."""

    def __init__(self) -> None:
        self.judge, self.number = Judge(MEMBERS, 0, TIMEOUT_S, STALL_S), 0
        self.heartbeats, self.now_s = [Heartbeat() for _ in MEMBERS], 0.0
        self.hear(0.0)

    def hear(
        self, now_s: float, news: Mapping[int, Heartbeat] | None = None, silent: Sequence[int] = ()
    ) -> Failure | None:
        """Hear all that are not silent each second up to a time, and their news then; return the verdict."""
        heard = set(range(4)) - set(silent)
        while (self.now_s + 1) < now_s:
            self.now_s, self.number = self.now_s + 1, self.number + 1
            for rank in heard:
                self.heartbeats[rank] = structs.replace(self.heartbeats[rank], number=self.number)
            self.judge.verdict(self.heartbeats, self.now_s)
        self.now_s, self.number = now_s, self.number + 1
        for rank in heard:
            beat = (news or {}).get(rank, Heartbeat())
            self.heartbeats[rank] = structs.replace(beat, number=self.number)
        return self.judge.verdict(self.heartbeats, now_s)


@pytest.fixture
def ranks() -> Listener:
    return Listener()


def waiting(for_s: float) -> Heartbeat:
    return Heartbeat(waits_for="the wait for activations of minibatch 3", waits_s=for_s)


def failed(rank: int, cause: str, reason: str, *notes: str) -> dict[int, Heartbeat]:
    return {rank: Heartbeat(failure=Failure(reason=reason, cause=cause, notes=notes))}  # type: ignore[arg-type]


def test_without_a_fault_there_is_no_verdict(ranks: Listener) -> None:
    assert ranks.hear(TIMEOUT_S, {rank: waiting(STALL_S) for rank in range(4)}) is None
    assert ranks.hear(2 * TIMEOUT_S - 0.1, silent=[1, 2, 3]) is None


def test_a_rank_that_was_stopped_itself_blames_nobody_for_the_time_of_that(ranks: Listener) -> None:
    ranks.hear(3.0)
    assert ranks.judge.verdict(ranks.heartbeats, 3.0 + 5 * TIMEOUT_S) is None
    verdicts = [ranks.judge.verdict(ranks.heartbeats, 4.0 + 5 * TIMEOUT_S + second) for second in range(12)]
    assert verdicts[0] is None
    assert verdicts[-1] is not None, "and all for what comes after it"


def test_a_rank_s_own_fault_outweighs_consequences_that_came_before(ranks: Listener) -> None:
    news = failed(1, "neighbour", "a neighbouring stage has gone")
    ranks.hear(5.0, news)
    news |= failed(2, "stage", "stage 2 raised", "its stack")
    ranks.hear(5.2, news)
    assert ranks.hear(5.2 + GRACE_S - 0.01, news) is None, "others may still speak"
    found = ranks.hear(5.2 + GRACE_S, news)
    assert found is not None
    assert found.sentence == "rank 2 on h2 (10.0.0.3): stage 2 raised"
    assert found.notes == ("its stack", "a consequence: rank 1 on h1 (10.0.0.2): a neighbouring stage has gone")
    assert found.cause == "stage"


def test_consequences_wait_until_the_one_that_has_gone_is_noticed(ranks: Listener) -> None:
    news = failed(1, "neighbour", "a neighbouring stage has gone")
    ranks.hear(3.0)
    assert ranks.hear(4.0, news, silent=[2]) is None
    assert ranks.hear(3.0 + DEAD_S, news, silent=[2]) is None
    ranks.hear(3.1 + DEAD_S, news, silent=[2])
    found = ranks.hear(3.1 + DEAD_S + GRACE_S, news, silent=[2])
    assert found is not None
    assert found.sentence.startswith("rank 2 on h2 (10.0.0.3): nothing heard of it for 3 s")


def test_consequences_alone_are_told_in_the_end(ranks: Listener) -> None:
    news = failed(3, "neighbour", "a neighbouring stage has gone")
    assert ranks.hear(5.0, news) is None
    assert ranks.hear(5.0 + 2 * DEAD_S, news) is None
    found = ranks.hear(5.0 + 2 * DEAD_S + GRACE_S, news)
    assert found is not None
    assert found.sentence == "rank 3 on h3 (10.0.0.4): a neighbouring stage has gone"


def test_only_a_rank_s_first_fault_counts(ranks: Listener) -> None:
    ranks.hear(1.0, failed(1, "stage", "first"))
    found = ranks.hear(2.0, failed(1, "stage", "second"))
    assert found is not None
    assert found.sentence.endswith("first")


def test_where_all_others_are_silent_it_is_this_host_that_is_cut_off(ranks: Listener) -> None:
    found = ranks.hear(TIMEOUT_S + 0.1, silent=[1, 2, 3])
    assert found is not None
    assert found.sentence.startswith("rank 0 on h0 (10.0.0.1): nothing heard of any other rank")


def test_one_that_works_is_no_standstill_and_all_that_wait_too_long_are(ranks: Listener) -> None:
    waits = {rank: waiting(STALL_S + rank) for rank in range(4)}
    assert ranks.hear(1.0, waits | {0: Heartbeat()}) is None
    assert ranks.hear(1.5, waits | {0: Heartbeat()}) is None
    waits[0] = waiting(STALL_S + 0.5)
    ranks.hear(2.0, waits)
    found = ranks.hear(2.0 + GRACE_S, waits)
    assert found is not None
    assert found.sentence.startswith("rank 3 on h3 (10.0.0.4): the wait for activations of minibatch 3 has taken 23 s")
    assert found.notes == ()


def test_bad_input_names_its_rank_unless_all_were_given_the_same(ranks: Listener) -> None:
    news = failed(1, "input", "plan.json cannot be read")
    ranks.hear(0.5, news)
    found = ranks.hear(1.0, news)
    assert found is not None
    assert found.sentence == "rank 1 on h1 (10.0.0.2): plan.json cannot be read"
    assert found.cause == "input"
    everyone: dict[int, Heartbeat] = {}
    for rank in range(4):
        everyone |= failed(rank, "input", "plan.json cannot be read")
    found = ranks.hear(1.0, everyone)
    assert found is not None
    assert found.sentence == "plan.json cannot be read"
