"""A schedule lists the first minibatches of a long run: what it says by them is what the whole list says."""

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
    in_short,
    makespan_s,
    requirements_of,
    schedule_of,
    simulate,
    throughput,
    unlisted_s,
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


@settings(deadline=None, max_examples=12)
@given(data=st.data(), case=paces_and_layouts(), more=st.integers(1, 200))
def test_a_long_run_goes_on_as_its_listed_minibatches_end(
    data: st.DataObject, case: tuple[Pace, RankLayout], more: int
) -> None:
    pace, layout = case
    assert_goes_on(data, pace, layout, LONG + more, rel=1e-3)


@settings(deadline=None, max_examples=3)
@given(data=st.data(), stages=st.integers(5, 12), more=st.integers(1, 200))
def test_a_long_run_of_many_stages_goes_on_so_too(data: st.DataObject, stages: int, more: int) -> None:
    assert_goes_on(data, Pace("1f1b", 1), RankLayout((1,) * stages), LONG + more, rel=3e-3)


def assert_goes_on(data: st.DataObject, pace: Pace, layout: RankLayout, minibatches: int, *, rel: float) -> None:
    """Figures by what stands for a run are those of its whole list but for what is in flight, for drawn durations."""
    rel += layout.depth(0, minibatches) * layout.replicas[0] / minibatches
    times = st.floats(0.1, 10)
    durations = [Duration(data.draw(times), data.draw(times), data.draw(times)) for _ in layout.replicas]
    rows = data.draw(st.lists(st.lists(times, min_size=layout.stages, max_size=layout.stages), max_size=2))
    messages = [[Message(time, time * data.draw(st.floats(0, 1))) for time in row] for row in rows]
    short = in_short(schedule_of(pace.name, layout.replicas, minibatches, pace.update_every))
    whole = in_full(pace, layout, minibatches)
    short_spans, spans = (simulate(own, durations_by_kind(own, durations), *messages) for own in (short, whole))
    further_s = unlisted_s(short, short_spans)
    assert (short.minibatches, further_s > 0, unlisted_s(whole, spans)) == (minibatches, True, 0)
    assert makespan_s(short_spans) + further_s == pytest.approx(makespan_s(spans), rel=rel)
    assert throughput(short, short_spans, 4, further_s) == pytest.approx(throughput(whole, spans, 4, 0), rel=rel)
    assert bubble_share(short, short_spans, further_s) == pytest.approx(bubble_share(whole, spans, 0), abs=2 * rel)


def test_stages_that_are_nearly_as_slow_are_timed_by_the_slowest() -> None:
    """The last stage is fed for longer than the list is from what is in flight before it."""
    layout, minibatches = RankLayout((3, 1, 1, 3)), 100_001
    durations = [Duration(4, 7, 10), Duration(1, 1, 1), Duration(1, 1, 1), Duration(5, 6, 9.5)]
    short = in_short(schedule_of("1f1b", layout.replicas, minibatches))
    spans = simulate(short, durations_by_kind(short, durations))
    further_s = unlisted_s(short, spans)
    assert further_s == pytest.approx((minibatches - short.listed) * 7)
    assert makespan_s(spans) + further_s == pytest.approx(minibatches * 7, rel=1e-3)
    assert throughput(short, spans, 1, further_s) == pytest.approx(1 / 7, rel=1e-3)


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
    assert makespan_s(spans) + unlisted_s(schedule, spans) == 4_000_000
    assert throughput(schedule, spans, 8, unlisted_s(schedule, spans)) == 2
    assert all(one.end_s == two.start_s for row in spans for one, two in pairwise(row))
