from itertools import pairwise

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paces import drawn_pace, plain
from simulations import dependencies, orders, simulated

from optimizer.schedule import Action, Duration, Kind, Pace, Span, makespan_s, simulate, throughput

durations = st.builds(Duration, st.integers(1, 9), st.integers(1, 9), st.integers(0, 3))
Times = dict[tuple[int, Kind, int], float]


def test_two_stages_by_hand() -> None:
    schedule = plain(2, 2)
    spans = simulated(schedule, [Duration(1, 2, 1), Duration(2, 3, 1)])
    times = {str(span.action): (span.start_s, span.end_s) for row in spans for span in row}
    assert times == {
        "0F0": (0, 1), "0F1": (1, 2), "1F0": (1, 3), "1B0": (3, 6), "1U0": (6, 7), "0B0": (6, 8), "0U0": (8, 9),
        "1F1": (7, 9), "1B1": (9, 12), "1U1": (12, 13), "0B1": (12, 14), "0U1": (14, 15),
    }  # fmt: skip
    assert makespan_s(spans) == 15


def test_one_stage_runs_at_its_own_pace() -> None:
    schedule = plain(1, 10)
    spans = simulated(schedule, [Duration(1, 2, 1)])
    assert makespan_s(spans) == 40
    assert throughput(schedule, spans, 8) == pytest.approx(8 / 4)


@settings(deadline=None)
@given(rows=st.lists(durations, min_size=1, max_size=5))
def test_the_steady_throughput_is_that_of_the_slowest_stage(rows: list[Duration]) -> None:
    """A pipeline whose every stage has its depth's minibatches in flight goes as fast as its slowest stage or slower,

    and a long run never beats it.
    """
    minibatches = 60
    schedule = plain(len(rows), minibatches)
    spans = simulated(schedule, rows)
    slowest = max(row.forward_s + row.backward_s + row.update_s for row in rows)
    assert throughput(schedule, spans, 1) <= 1 / slowest * (1 + 2 * len(rows) / minibatches)
    assert makespan_s(spans) >= minibatches * slowest


@settings(deadline=None)
@given(rows=st.lists(durations, min_size=1, max_size=4), minibatches=st.integers(1, 9))
def test_nothing_starts_before_what_it_needs(rows: list[Duration], minibatches: int) -> None:
    spans = simulated(plain(len(rows), minibatches), rows)
    ends = {span.action: span.end_s for row in spans for span in row}
    for row in spans:
        assert all(first.end_s <= second.start_s for first, second in pairwise(row))
        for span in row:
            action = span.action
            if action.kind == "F" and action.stage:
                assert ends[Action(action.stage - 1, "F", action.minibatch)] <= span.start_s
            if action.kind == "B" and action.stage < len(rows) - 1:
                assert ends[Action(action.stage + 1, "B", action.minibatch)] <= span.start_s


@st.composite
def timed(draw: st.DrawFn) -> tuple[Pace, int, int, Times]:
    """A run of any schedule, and a duration for every action of it."""
    stages, minibatches = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    pace = drawn_pace(draw(st.data()), stages, range(1, 5))
    numbers = draw(st.randoms(use_true_random=False))
    kinds: tuple[Kind, ...] = ("F", "B", "W", "U")
    took = {
        (stage, kind, minibatch): float(numbers.randint(0, 20))
        for stage in range(stages) for kind in kinds for minibatch in range(minibatches)
    }  # fmt: skip
    return pace, stages, minibatches, took


def ends(spans: list[list[Span]]) -> dict[Action, float]:
    return {span.action: span.end_s for row in spans for span in row}


@settings(deadline=None)
@given(case=timed())
def test_an_action_ends_with_the_longest_chain_of_actions_that_leads_to_it(case: tuple[Pace, int, int, Times]) -> None:
    """What a stage does next depends on the times; none waits for what it does not need."""
    pace, stages, minibatches, took = case
    spans = simulate(pace, stages, minibatches, lambda *key: took[key])
    longest: dict[Action, float] = {}
    graph = dependencies(orders(spans))
    for action in nx.topological_sort(graph):
        before_s = max((longest[need] for need in graph.predecessors(action)), default=0.0)
        longest[action] = took[action.stage, action.kind, action.minibatch] + before_s
    assert ends(spans) == longest


@settings(deadline=None)
@given(case=timed(), data=st.data())
def test_messages_take_the_way_one_after_the_other(case: tuple[Pace, int, int, Times], data: st.DataObject) -> None:
    pace, stages, minibatches, took = case
    down_s, up_s = (data.draw(st.lists(st.sampled_from([0, 1, 4]), min_size=stages, max_size=stages)) for _ in range(2))
    spans = simulate(pace, stages, minibatches, lambda *key: took[key], down_s, up_s)
    times = {span.action: span for row in spans for span in row}
    messages: list[tuple[Kind, list[int], int]] = [("F", down_s, 1), ("B", up_s, -1)]
    for kind, ways, step in messages:
        for stage in range(stages):
            to, free_s = stage + step, 0.0
            if not 0 <= to < stages:
                continue
            way_s = ways[min(stage, to)]
            for minibatch in range(minibatches):
                free_s = max(free_s, times[Action(stage, kind, minibatch)].end_s) + way_s
                assert times[Action(to, kind, minibatch)].start_s >= free_s
