"""What a schedule needs, against every slot and version count tried out on all that surely happens before."""

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paces import some_schedule

from optimizer.schedule import (
    PLAIN_1F1B,
    SCHEDULES,
    Action,
    Schedule,
    ScheduleName,
    factors,
    requirements_of,
    schedule_of,
)

names = st.sampled_from(list(SCHEDULES))
schedules = st.builds(some_schedule, names, st.integers(1, 4), st.integers(1, 9), st.integers(1, 5))


def happens_before(schedule: Schedule) -> dict[Action, set[Action]]:
    """All actions that surely ended before each action starts: the ancestors in the graph of what waits for what."""
    graph: nx.DiGraph[Action] = nx.DiGraph()
    for row in schedule.rows:
        nx.add_path(graph, row)
        for action in row:
            if action.kind == "F" and action.stage > 0:
                graph.add_edge(Action(action.stage - 1, "F", action.minibatch), action)
            if action.kind == "B" and action.stage < len(schedule.rows) - 1:
                graph.add_edge(Action(action.stage + 1, "B", action.minibatch), action)
    assert nx.is_directed_acyclic_graph(graph)
    return {action: nx.ancestors(graph, action) for action in graph}


def safe(slots: int, pairs: list[tuple[Action, Action]], before: dict[Action, set[Action]]) -> bool:
    """Whether what overwrites a slot comes after its last reader; pairs of reader and writer."""
    return all(reader in before[writer] for (reader, _), (_, writer) in zip(pairs, pairs[slots:], strict=False))


@settings(deadline=None, max_examples=200)
@given(schedule=schedules, momenta=st.integers(0, 2))
def test_how_often_a_stage_holds_what_is_what_the_proof_finds(schedule: Schedule, momenta: int) -> None:
    """The memory model counts in closed form, and the proof on the actions."""
    stages, proven = len(schedule.rows), requirements_of(schedule)
    for stage, needs in enumerate(proven):
        held = factors(schedule.pace, stage, stages, schedule.minibatches, momenta)
        assert (held.learning, held.saved, held.casts) == (
            needs.versions + 1 + momenta,
            needs.in_flight,
            needs.versions,
        )
        assert held.behind == needs.activation_slots == needs.gradient_slots
        assert held.before == (proven[stage - 1].activation_slots if stage else 0)


@settings(deadline=None, max_examples=80)
@given(schedule=schedules)
def test_the_slots_are_enough_and_one_less_is_not(schedule: Schedule) -> None:
    before = happens_before(schedule)
    needs = requirements_of(schedule)
    batches = range(schedule.minibatches)
    for stage in range(len(schedule.rows) - 1):
        down = [(Action(stage + 1, "B", b), Action(stage, "F", b)) for b in batches]
        up = [(Action(stage, "B", b), Action(stage + 1, "B", b)) for b in batches]
        for slots, pairs in ((needs[stage].activation_slots, down), (needs[stage].gradient_slots, up)):
            assert safe(slots, pairs, before)
            assert slots == 1 or not safe(slots - 1, pairs, before)
    assert (needs[-1].activation_slots, needs[-1].gradient_slots) == (0, 0)


@given(stages=st.integers(1, 6), minibatches=st.integers(1, 12))
def test_1f1b_needs_its_depth_of_everything(stages: int, minibatches: int) -> None:
    for stage, need in enumerate(requirements_of(schedule_of("1f1b", stages, minibatches))):
        ahead = min(stages - stage, minibatches)
        assert (need.versions, need.in_flight) == (ahead, ahead)
        if stage < stages - 1:
            assert need.activation_slots == ahead
            assert need.gradient_slots <= ahead


@given(stages=st.integers(1, 6), minibatches=st.integers(1, 30), more=st.integers(0, 3))
def test_2bw_needs_two_versions_whatever_the_depth_and_one_where_a_single_update_is_all(
    stages: int, minibatches: int, more: int
) -> None:
    every = stages + more
    flush = requirements_of(schedule_of("1f1b", stages, minibatches))
    for need, other in zip(requirements_of(schedule_of("2bw", stages, minibatches, every)), flush, strict=True):
        assert need.versions == (2 if minibatches > every else 1)
        assert (need.in_flight, need.activation_slots, need.gradient_slots) == (
            other.in_flight, other.activation_slots, other.gradient_slots,
        )  # fmt: skip


@pytest.mark.parametrize("name", ["1f1b-flush", "gpipe", "sequential"])
def test_a_flush_needs_one_weight_version(name: ScheduleName) -> None:
    for need in requirements_of(schedule_of(name, 4, 20, 8)):
        assert need.versions == 1


def test_gpipe_holds_a_whole_round_and_sequential_one_minibatch() -> None:
    assert [need.in_flight for need in requirements_of(schedule_of("gpipe", 3, 20, 8))] == [8, 8, 8]
    assert [need.in_flight for need in requirements_of(schedule_of("1f1b-flush", 3, 20, 8))] == [3, 2, 1]
    sequential = requirements_of(schedule_of("sequential", 3, 20))
    assert [(need.in_flight, need.activation_slots, need.gradient_slots) for need in sequential] == [
        (1, 1, 1), (1, 1, 1), (1, 0, 0),
    ]  # fmt: skip


def test_a_schedule_that_cannot_end_is_refused() -> None:
    stuck = Schedule(PLAIN_1F1B, ((Action(0, "B", 0),), (Action(1, "F", 0), Action(1, "B", 0))), 0)
    with pytest.raises(ValueError, match="0B0, 1F0 wait for each other"):
        requirements_of(stuck)
