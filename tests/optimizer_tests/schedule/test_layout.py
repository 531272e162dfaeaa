"""1F1B over replicated stages: what the recurrence says against what the schedule does when it is walked."""

import math

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulations import simulated

from optimizer.schedule import (
    PLAIN_1F1B,
    Action,
    Duration,
    Kind,
    Message,
    RankLayout,
    Schedule,
    requirements_of,
    schedule_of,
    throughput,
)
from optimizer.schedule.schedule import versions_used

layouts = st.lists(st.integers(1, 4), min_size=1, max_size=4).filter(lambda replicas: sum(replicas) <= 7)


def waits(schedule: Schedule) -> "nx.DiGraph[Action]":
    """What waits for what, written down anew: rows, neighbours, and the updates of a round for all its backwards."""
    graph: nx.DiGraph[Action] = nx.DiGraph()
    last = len(schedule.replicas) - 1
    everything = [action for row in schedule.rows for action in row]
    for row in schedule.rows:
        nx.add_path(graph, row)
    for action in everything:
        if action.kind == "F" and action.stage > 0:
            graph.add_edge(Action(action.stage - 1, "F", action.minibatch), action)
        if action.kind == "B" and action.stage < last:
            graph.add_edge(Action(action.stage + 1, "B", action.minibatch), action)
        if action.kind == "U":
            width = schedule.replicas[action.stage]
            for other in everything:
                same = other.minibatch // width == action.minibatch // width
                if other.kind == "B" and other.stage == action.stage and same:
                    graph.add_edge(other, action)
    return graph


@settings(deadline=None, max_examples=60)
@given(replicas=layouts, minibatches=st.integers(1, 15))
def test_the_schedule_does_what_the_recurrence_says(replicas: list[int], minibatches: int) -> None:
    schedule, layout = schedule_of("1f1b", replicas, minibatches), RankLayout(tuple(replicas))
    assert nx.is_directed_acyclic_graph(waits(schedule)), "it ends, whatever the speeds"
    for rank, row in enumerate(schedule.rows):
        stage, replica = layout.stage_of(rank), layout.replica_of(rank)
        own = list(range(replica, minibatches, replicas[stage]))
        for kind in ("F", "B"):
            assert [action.minibatch for action in row if action.kind == kind] == own
            assert all(layout.ranks(stage)[minibatch % replicas[stage]] == rank for minibatch in own)
        depth = layout.depth(stage, minibatches)
        assert versions_used(PLAIN_1F1B, row) == {b: max(0, b // replicas[stage] - depth + 1) for b in own}
        updates = [action.minibatch // replicas[stage] for action in row if action.kind == "U"]
        assert updates == list(range(-(-minibatches // replicas[stage]))), "as many on each replica"
    assert sum(need.in_flight * own for need, own in zip(requirements_of(schedule), replicas, strict=True)) >= len(
        replicas
    )


@settings(deadline=None, max_examples=60)
@given(replicas=layouts, minibatches=st.integers(1, 15))
def test_the_slots_of_a_replica_are_enough_and_one_less_is_not(replicas: list[int], minibatches: int) -> None:
    schedule = schedule_of("1f1b", replicas, minibatches)
    graph = waits(schedule)
    before = {action: nx.ancestors(graph, action) for action in graph}
    for stage, need in enumerate(requirements_of(schedule)[:-1]):
        ways: tuple[tuple[int, int, int, Kind], ...] = (
            (need.activation_slots, stage, stage + 1, "F"),
            (need.gradient_slots, stage + 1, stage, "B"),
        )
        for slots, writer, reader, kind in ways:
            rings = [list(range(at, minibatches, replicas[writer])) for at in range(replicas[writer])]

            def safe(
                count: int, rings: list[list[int]] = rings, ends: tuple[int, int, str] = (writer, reader, kind)
            ) -> bool:
                return all(
                    Action(ends[1], "B", old) in before[Action(ends[0], ends[2], new)]  # type: ignore[arg-type]
                    for own in rings
                    for old, new in zip(own, own[count:], strict=False)
                )

            assert safe(slots)
            assert slots == 1 or not safe(slots - 1)


@given(stages=st.integers(1, 5), minibatches=st.integers(1, 9))
def test_without_replicas_the_depth_is_pipedreams(stages: int, minibatches: int) -> None:
    layout = RankLayout((1,) * stages)
    depths = [layout.depth(stage, minibatches) for stage in range(stages)]
    assert depths == [min(stages - stage, minibatches) for stage in range(stages)]


def test_two_replicas_before_one_stage_by_hand() -> None:
    rows = [" ".join(map(str, row)) for row in schedule_of("1f1b", [2, 1], 5).rows]
    assert rows == [
        "0F0 0F2 0B0 0U0 0F4 0B2 0U2 0B4 0U4",
        "0F1 0F3 0B1 0U1 0B3 0U3 0U5",  # which takes part in the last update without a minibatch of its own
        "1F0 1B0 1U0 1F1 1B1 1U1 1F2 1B2 1U2 1F3 1B3 1U3 1F4 1B4 1U4",
    ]


parts = st.floats(0.01, 1)


@settings(deadline=None, max_examples=60)
@given(replicas=layouts, data=st.data())
def test_the_slowest_stage_never_waits_in_the_steady_state(replicas: list[int], data: st.DataObject) -> None:
    """The period is the slowest stage's time, whatever else the stages take; ``replicated`` minimises that."""
    durations = []
    for own in replicas:
        forward, backward, update = (data.draw(parts, label="part") for _ in range(3))
        scale = own * data.draw(st.sampled_from([1.0, 0.9, 0.3])) / (forward + backward + update)
        durations.append(Duration(forward * scale, backward * scale, update * scale))
    slowest = max(
        (one.forward_s + one.backward_s + one.update_s) / own for one, own in zip(durations, replicas, strict=True)
    )
    rows = simulated(schedule_of("1f1b", replicas, 240), durations)
    last = len(replicas) - 1
    ends = sorted(span.end_s for row in rows for span in row if str(span.action).startswith(f"{last}B"))
    whole_rounds = math.lcm(*replicas)
    period = (ends[239] - ends[239 - 8 * whole_rounds]) / (8 * whole_rounds)
    assert period == pytest.approx(slowest, rel=1e-6)


def test_an_update_waits_for_backwards_and_not_for_what_they_send() -> None:
    ways = [Message(0, 0), Message(0, 0)], [Message(10, 1), Message(0, 0)]
    rows = simulated(schedule_of("1f1b", [1, 2], 4), [Duration(1, 1, 0), Duration(1, 1, 1)], *ways)
    starts = {str(span.action): span.start_s for row in rows for span in row}
    assert (starts["1B0"], starts["1B1"]) == (2, 3)
    assert starts["1U0"] == starts["1U1"] == 4


def test_a_stage_of_two_replicas_is_up_to_twice_as_fast() -> None:
    durations = [Duration(2, 4, 0), Duration(1, 2, 0)]
    straight, both = (
        throughput(schedule, simulated(schedule, durations), 1, 0.0)
        for schedule in (schedule_of("1f1b", 2, 200), schedule_of("1f1b", [2, 1], 200))
    )
    assert straight == pytest.approx(1 / 6)
    assert both == pytest.approx(1 / 3, rel=0.02)
