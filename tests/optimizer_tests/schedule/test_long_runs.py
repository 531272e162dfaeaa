"""A schedule lists the first minibatches of a long run: what it says by them is what the whole list says."""

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paces import some_pace

from optimizer.schedule import (
    MOST_LISTED,
    SCHEDULES,
    Action,
    Duration,
    Message,
    Pace,
    RankLayout,
    bubble_share,
    durations_by_kind,
    in_full,
    makespan_s,
    requirements_of,
    rest_s,
    schedule_of,
    simulate,
    throughput,
)

LONG = 2 * MOST_LISTED


@st.composite
def paces_and_layouts(draw: st.DrawFn) -> tuple[Pace, RankLayout]:
    replicas = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    if max(replicas) > 1:
        return Pace("1f1b", 1), RankLayout(tuple(replicas))
    name, every = draw(st.sampled_from(list(SCHEDULES))), draw(st.sampled_from([1, 2, 3, 7, 8, 64]))
    return some_pace(name, len(replicas), every), RankLayout(tuple(replicas))


def kept(row: Sequence[Action], listed: int, layout: RankLayout) -> list[Action]:
    own = layout.replicas[row[0].stage]
    return [action for action in row if action.minibatch // own * own < listed]


@settings(deadline=None, max_examples=10)
@given(case=paces_and_layouts(), more=st.integers(1, 300))
def test_what_is_listed_is_what_the_first_minibatches_do(case: tuple[Pace, RankLayout], more: int) -> None:
    pace, layout = case
    listed = pace.listed(layout, LONG)
    assert MOST_LISTED <= listed < MOST_LISTED + 200
    schedule = schedule_of(pace.name, layout.replicas, listed + more, pace.update_every)
    assert (schedule.listed, schedule.minibatches) == (listed, listed + more)
    whole = in_full(pace, layout, listed + more)
    assert [kept(row, listed, layout) for row in whole.rows] == [list(row) for row in schedule.rows]


@settings(deadline=None, max_examples=10)
@given(case=paces_and_layouts(), more=st.integers(1, 300))
def test_a_long_run_needs_what_its_listed_minibatches_need(case: tuple[Pace, RankLayout], more: int) -> None:
    pace, layout = case
    minibatches = pace.listed(layout, LONG) + more
    schedule = schedule_of(pace.name, layout.replicas, minibatches, pace.update_every)
    assert requirements_of(schedule) == requirements_of(in_full(pace, layout, minibatches))


@settings(deadline=None, max_examples=10)
@given(data=st.data(), case=paces_and_layouts())
def test_a_long_run_goes_on_as_its_listed_minibatches_end(data: st.DataObject, case: tuple[Pace, RankLayout]) -> None:
    pace, layout = case
    times = st.floats(0.1, 10)
    durations = [Duration(data.draw(times), data.draw(times), data.draw(times)) for _ in layout.replicas]
    messages = [[Message(time, time * data.draw(st.floats(0, 1))) for time in row]
                for row in (data.draw(st.lists(times, min_size=layout.stages, max_size=layout.stages))
                            for _ in range(2))] if data.draw(st.booleans()) else []  # fmt: skip
    round_ = math.lcm(pace.update_every, *layout.replicas)
    schedule, whole = (
        make(pace, layout, LONG // round_ * round_)
        for make in (lambda *of: schedule_of(of[0].name, of[1].replicas, of[2], of[0].update_every), in_full)
    )
    listed_spans, spans = (simulate(own, durations_by_kind(own, durations), *messages) for own in (schedule, whole))
    unlisted_s = rest_s(schedule, listed_spans)
    assert rest_s(whole, spans) == 0
    assert makespan_s(listed_spans) + unlisted_s == pytest.approx(makespan_s(spans), rel=5e-3)
    assert throughput(schedule, listed_spans, 4, unlisted_s) == pytest.approx(throughput(whole, spans, 4, 0), rel=5e-3)
    assert bubble_share(schedule, listed_spans) == pytest.approx(bubble_share(whole, spans), abs=5e-3)


@pytest.mark.parametrize("minibatches", [MOST_LISTED, MOST_LISTED + 1, 1_000_000])
def test_the_list_of_a_long_run_is_short(minibatches: int) -> None:
    schedule = schedule_of("1f1b", 4, minibatches)
    assert (schedule.listed, schedule.minibatches) == (MOST_LISTED, minibatches)
    assert max(map(len, schedule.rows)) == 3 * MOST_LISTED


def test_the_list_is_as_long_as_what_is_in_flight_asks_for() -> None:
    for pace, replicas in ((Pace("gpipe", 900), (1, 1)), (Pace("1f1b", 1), (1,) * 600), (Pace("2bw", 7000), (1, 1))):
        layout = RankLayout(replicas)
        listed = pace.listed(layout, 1_000_000)
        assert listed >= 4 * pace.in_flight(layout, 0, 1_000_000) or pace.flush_every
        assert listed >= 3 * pace.update_every
        assert listed % pace.update_every == 0
    assert [Pace("gpipe", 900).listed(RankLayout((1, 1)), own) for own in (5, 2700, 10**6)] == [5, 2700, 2700]


def test_a_steady_run_goes_on_exactly() -> None:
    """One stage has no rhythm to find: a million minibatches take a million times what one takes."""
    schedule = schedule_of("1f1b", 1, 1_000_000)
    spans = simulate(schedule, durations_by_kind(schedule, [Duration(1, 2, 1)]))
    assert makespan_s(spans) + rest_s(schedule, spans) == 4_000_000
    assert throughput(schedule, spans, 8, rest_s(schedule, spans)) == 2
    assert all(one.end_s == two.start_s for row in spans for one, two in pairwise(row))
