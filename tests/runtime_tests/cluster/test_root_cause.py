"""Who is at fault, from what ranks have said and how long they have been silent; the clock is made up."""

import pytest

from runtime.cluster.protocol import Doing, Fault, Member
from runtime.cluster.root_cause import GRACE_S, RootCauseAnalysis
from runtime.worker import Phase

MEMBERS = [Member(rank, f"h{rank}", f"10.0.0.{rank + 1}", "boot") for rank in range(4)]
TIMEOUT_S, STALL_S = 10.0, 20.0


@pytest.fixture
def analysis() -> RootCauseAnalysis:
    return RootCauseAnalysis(MEMBERS, TIMEOUT_S, STALL_S)


def waiting(for_s: float) -> Doing:
    return Doing(Phase.WAITING, for_s, 0.0, 1, 9, "the wait for activations of minibatch 3")


def test_without_a_fault_there_is_no_verdict(analysis: RootCauseAnalysis) -> None:
    analysis.note_silence(dict.fromkeys(range(1, 4), 0.0), TIMEOUT_S)
    analysis.note_standstill({rank: waiting(STALL_S) for rank in range(4)}, 0.0)
    assert analysis.root_cause(1e9) is None


def test_a_rank_s_own_fault_outweighs_consequences_that_came_before(analysis: RootCauseAnalysis) -> None:
    analysis.hear(Fault(1, "neighbour", "a neighbouring stage has gone"), 5.0)
    analysis.hear(Fault(2, "stage", "stage 2 raised", ("its stack",)), 5.2)
    assert analysis.root_cause(5.2 + GRACE_S - 0.01) is None, "others may still speak"
    found = analysis.root_cause(5.2 + GRACE_S)
    assert found is not None
    assert found.sentence == "rank 2 on h2 (10.0.0.3): stage 2 raised"
    assert found.notes == ("its stack", "a consequence: rank 1 on h1 (10.0.0.2): a neighbouring stage has gone")
    assert found.exit_code == 1


def test_consequences_wait_until_the_one_that_has_gone_is_noticed(analysis: RootCauseAnalysis) -> None:
    analysis.hear(Fault(1, "neighbour", "a neighbouring stage has gone"), 5.0)
    assert analysis.root_cause(5.0 + TIMEOUT_S) is None
    analysis.note_silence({1: 12.0, 2: 3.0, 3: 12.0}, 13.1)
    found = analysis.root_cause(13.1 + GRACE_S)
    assert found is not None
    assert found.sentence.startswith("rank 2 on h2 (10.0.0.3): nothing heard of it for 10 s")


def test_consequences_alone_are_told_in_the_end(analysis: RootCauseAnalysis) -> None:
    analysis.hear(Fault(3, "neighbour", "a neighbouring stage has gone"), 5.0)
    found = analysis.root_cause(5.0 + TIMEOUT_S + GRACE_S)
    assert found is not None
    assert found.sentence == "rank 3 on h3 (10.0.0.4): a neighbouring stage has gone"


def test_only_a_rank_s_first_fault_counts(analysis: RootCauseAnalysis) -> None:
    analysis.hear(Fault(1, "stage", "first"), 1.0)
    analysis.hear(Fault(1, "stage", "second"), 0.5)
    found = analysis.root_cause(2.0)
    assert found is not None
    assert found.sentence.endswith("first")


def test_where_all_others_are_silent_it_is_this_host_that_is_cut_off(analysis: RootCauseAnalysis) -> None:
    analysis.note_silence(dict.fromkeys(range(1, 4), 0.0), TIMEOUT_S + 0.1)
    found = analysis.root_cause(TIMEOUT_S + 1)
    assert found is not None
    assert found.sentence.startswith("rank 0 on h0 (10.0.0.1): nothing heard of any other rank")


def test_one_that_works_is_no_standstill_and_all_that_wait_too_long_are(analysis: RootCauseAnalysis) -> None:
    doing = {rank: waiting(STALL_S + rank) for rank in range(4)}
    analysis.note_standstill(doing | {0: Doing(Phase.WORKING, 1.0, 0.0, 1, 9, "forward of minibatch 4")}, 0.0)
    assert analysis.root_cause(1e9) is None
    doing[0] = waiting(STALL_S + 0.5)
    analysis.note_standstill({rank: doing[rank] for rank in range(3)}, 0.0)
    assert analysis.root_cause(1e9) is None, "of one rank nothing is known"
    analysis.note_standstill(doing, 0.0)
    found = analysis.root_cause(GRACE_S)
    assert found is not None
    assert found.sentence.startswith("rank 3 on h3 (10.0.0.4): the wait for activations of minibatch 3 has taken 23 s")
    assert found.notes == ()


def test_bad_input_names_its_rank_unless_all_were_given_the_same(analysis: RootCauseAnalysis) -> None:
    analysis.hear(Fault(1, "input", "plan.json cannot be read"), 0.0)
    found = analysis.root_cause(1.0)
    assert found is not None
    assert found.sentence == "rank 1 on h1 (10.0.0.2): plan.json cannot be read"
    assert found.exit_code == 2
    for rank in range(4):
        analysis.hear(Fault(rank, "input", "plan.json cannot be read"), 0.1)
    found = analysis.root_cause(1.0)
    assert found is not None
    assert found.sentence == "plan.json cannot be read"
