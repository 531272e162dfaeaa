from itertools import pairwise

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paces import some_schedule
from simulations import simulated

from optimizer.schedule import (
    PLAIN_1F1B,
    SCHEDULES,
    Action,
    Duration,
    Schedule,
    ScheduleName,
    Span,
    makespan_s,
    schedule_of,
    simulate,
    throughput,
)

durations = st.builds(Duration, st.integers(1, 9), st.integers(1, 9), st.integers(0, 3))


def test_two_stages_by_hand() -> None:
    schedule = schedule_of("1f1b", 2, 2)
    spans = simulated(schedule, [Duration(1, 2, 1), Duration(2, 3, 1)])
    times = {str(span.action): (span.start_s, span.end_s) for row in spans for span in row}
    assert times == {
        "0F0": (0, 1), "0F1": (1, 2), "1F0": (1, 3), "1B0": (3, 6), "1U0": (6, 7), "0B0": (6, 8), "0U0": (8, 9),
        "1F1": (7, 9), "1B1": (9, 12), "1U1": (12, 13), "0B1": (12, 14), "0U1": (14, 15),
    }  # fmt: skip
    assert makespan_s(spans) == 15


def test_one_stage_runs_at_its_own_pace() -> None:
    schedule = schedule_of("1f1b", 1, 10)
    spans = simulated(schedule, [Duration(1, 2, 1)])
    assert makespan_s(spans) == 40
    assert throughput(schedule, spans, 8, 0.0) == pytest.approx(8 / 4)


@settings(deadline=None)
@given(rows=st.lists(durations, min_size=1, max_size=5))
def test_the_steady_throughput_is_that_of_the_slowest_stage(rows: list[Duration]) -> None:
    """A pipeline whose every stage has its depth's minibatches in flight goes as fast as its slowest stage or slower,

    and a long run never beats it.
    """
    minibatches = 60
    schedule = schedule_of("1f1b", len(rows), minibatches)
    spans = simulated(schedule, rows)
    slowest = max(row.forward_s + row.backward_s + row.update_s for row in rows)
    assert throughput(schedule, spans, 1, 0.0) <= 1 / slowest * (1 + 2 * len(rows) / minibatches)
    assert makespan_s(spans) >= minibatches * slowest


@settings(deadline=None)
@given(rows=st.lists(durations, min_size=1, max_size=4), minibatches=st.integers(1, 9))
def test_nothing_starts_before_what_it_needs(rows: list[Duration], minibatches: int) -> None:
    spans = simulated(schedule_of("1f1b", len(rows), minibatches), rows)
    ends = {span.action: span.end_s for row in spans for span in row}
    for row in spans:
        assert all(first.end_s <= second.start_s for first, second in pairwise(row))
        for span in row:
            action = span.action
            if action.kind == "F" and action.stage:
                assert ends[Action(action.stage - 1, "F", action.minibatch)] <= span.start_s
            if action.kind == "B" and action.stage < len(rows) - 1:
                assert ends[Action(action.stage + 1, "B", action.minibatch)] <= span.start_s


def test_a_schedule_that_cannot_go_on_is_refused() -> None:
    stuck = Schedule(PLAIN_1F1B, ((Action(0, "B", 0),), (Action(1, "F", 0), Action(1, "B", 0))), 0)
    with pytest.raises(ValueError, match="0B0, 1F0 wait for each other"):
        simulated(stuck, [Duration(1, 1, 1)] * 2)


@st.composite
def timed(draw: st.DrawFn) -> tuple[Schedule, list[list[float]]]:
    """A schedule of any kind, and a duration for every action of it."""
    name: ScheduleName = draw(st.sampled_from(list(SCHEDULES)))
    stages, minibatches = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    schedule = some_schedule(name, stages, minibatches, draw(st.integers(1, 4)))
    times = st.integers(0, 20).map(float)
    return schedule, [draw(st.lists(times, min_size=len(row), max_size=len(row))) for row in schedule.rows]


def dependencies(schedule: Schedule) -> "nx.DiGraph[Action]":
    """What has to end before what: a stage's order, activations down and gradients up."""
    graph: nx.DiGraph[Action] = nx.DiGraph()
    for row in schedule.rows:
        graph.add_nodes_from(row)
        graph.add_edges_from(pairwise(row))
        for action in row:
            for kind, other in (("F", action.stage - 1), ("B", action.stage + 1)):
                if action.kind == kind and 0 <= other < len(schedule.rows):
                    graph.add_edge(Action(other, kind, action.minibatch), action)
    return graph


def ends(spans: list[list[Span]]) -> dict[Action, float]:
    return {span.action: span.end_s for row in spans for span in row}


@settings(deadline=None)
@given(case=timed())
def test_an_action_ends_with_the_longest_chain_of_actions_that_leads_to_it(
    case: tuple[Schedule, list[list[float]]],
) -> None:
    schedule, durations_s = case
    longest: dict[Action, float] = {}
    graph = dependencies(schedule)
    took = {
        action: own_s for row, times in zip(schedule.rows, durations_s, strict=True)
        for action, own_s in zip(row, times, strict=True)
    }  # fmt: skip
    for action in nx.topological_sort(graph):
        longest[action] = took[action] + max((longest[need] for need in graph.predecessors(action)), default=0.0)
    assert ends(simulate(schedule, durations_s)) == longest


@settings(deadline=None)
@given(case=timed(), data=st.data())
def test_an_action_that_is_slow_slows_only_what_depends_on_it(
    case: tuple[Schedule, list[list[float]]], data: st.DataObject
) -> None:
    schedule, durations_s = case
    before = ends(simulate(schedule, durations_s))
    rank = data.draw(st.integers(0, len(durations_s) - 1), label="rank")
    place = data.draw(st.integers(0, len(durations_s[rank]) - 1), label="place")
    durations_s[rank][place] += 7
    after = ends(simulate(schedule, durations_s))
    slow = schedule.rows[rank][place]
    assert after[slow] == before[slow] + 7
    behind = nx.descendants(dependencies(schedule), slow) | {slow}
    assert all(after[action] == before[action] for action in before if action not in behind)
    assert all(before[action] <= after[action] <= before[action] + 7 for action in behind)
