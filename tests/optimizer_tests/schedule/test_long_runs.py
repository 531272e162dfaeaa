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
    Pace,
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
def paces(draw: st.DrawFn) -> tuple[Pace, int]:
    stages = draw(st.integers(1, 4))
    name, every = draw(st.sampled_from(list(SCHEDULES))), draw(st.sampled_from([1, 2, 3, 7, 8, 64]))
    return some_pace(name, stages, every), stages


def kept(row: Sequence[Action], listed: int) -> list[Action]:
    return [action for action in row if action.minibatch < listed]


@settings(deadline=None, max_examples=10)
@given(case=paces(), more=st.integers(1, 300))
def test_what_is_listed_is_what_the_first_minibatches_do(case: tuple[Pace, int], more: int) -> None:
    pace, stages = case
    listed = pace.listed(stages, LONG)
    assert MOST_LISTED <= listed < MOST_LISTED + 200
    schedule = schedule_of(pace.name, stages, listed + more, pace.update_every)
    assert (schedule.listed, schedule.minibatches) == (listed, listed + more)
    whole = in_full(pace, stages, listed + more)
    assert [kept(row, listed) for row in whole.rows] == [list(row) for row in schedule.rows]


@settings(deadline=None, max_examples=10)
@given(case=paces(), more=st.integers(1, 300))
def test_a_long_run_needs_what_its_listed_minibatches_need(case: tuple[Pace, int], more: int) -> None:
    pace, stages = case
    minibatches = pace.listed(stages, LONG) + more
    schedule = schedule_of(pace.name, stages, minibatches, pace.update_every)
    assert requirements_of(schedule) == requirements_of(in_full(pace, stages, minibatches))


@settings(deadline=None, max_examples=12)
@given(data=st.data(), case=paces(), more=st.integers(1, 200))
def test_a_long_run_goes_on_as_its_listed_minibatches_end(
    data: st.DataObject, case: tuple[Pace, int], more: int
) -> None:
    pace, stages = case
    assert_goes_on(data, pace, stages, LONG + more, rel=1e-3)


@settings(deadline=None, max_examples=3)
@given(data=st.data(), stages=st.integers(5, 12), more=st.integers(1, 200))
def test_a_long_run_of_many_stages_goes_on_so_too(data: st.DataObject, stages: int, more: int) -> None:
    assert_goes_on(data, Pace("1f1b", 1), stages, LONG + more, rel=3e-3)


def assert_goes_on(data: st.DataObject, pace: Pace, stages: int, minibatches: int, *, rel: float) -> None:
    """Figures by what stands for a run are those of its whole list but for what is in flight, for drawn durations."""
    rel += stages / minibatches
    times = st.floats(0.1, 10)
    durations = [Duration(data.draw(times), data.draw(times), data.draw(times)) for _ in range(stages)]
    rows = data.draw(st.lists(st.lists(times, min_size=stages, max_size=stages), max_size=2))
    short = in_short(schedule_of(pace.name, stages, minibatches, pace.update_every))
    whole = in_full(pace, stages, minibatches)
    short_spans, spans = (simulate(own, durations_by_kind(own, durations), *rows) for own in (short, whole))
    further_s = unlisted_s(short, short_spans)
    assert (short.minibatches, further_s > 0, unlisted_s(whole, spans)) == (minibatches, True, 0)
    assert makespan_s(short_spans) + further_s == pytest.approx(makespan_s(spans), rel=rel)
    assert throughput(short, short_spans, 4, further_s) == pytest.approx(throughput(whole, spans, 4, 0), rel=rel)
    assert bubble_share(short, short_spans, further_s) == pytest.approx(bubble_share(whole, spans, 0), abs=2 * rel)


def test_stages_that_are_nearly_as_slow_are_timed_by_the_slowest() -> None:
    """The last stage is fed for longer than the list is from what is in flight before it."""
    minibatches = 100_001
    durations = [Duration(1, 2, 4), Duration(1, 1, 1), Duration(1, 1, 1), Duration(2, 2, 2.99)]
    short = in_short(schedule_of("1f1b", 4, minibatches))
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
    for pace, stages in ((Pace("gpipe", 900), 2), (Pace("1f1b", 1), 600), (Pace("2bw", 7000), 2)):
        listed = pace.listed(stages, 1_000_000)
        assert listed >= 4 * pace.in_flight(stages, 0, 1_000_000) or pace.flush_every
        assert listed >= 3 * pace.update_every
        assert listed % pace.update_every == 0
    assert [Pace("gpipe", 900).listed(2, own) for own in (5, 2700, 10**6)] == [5, 2700, 2700]


def test_a_steady_run_goes_on_exactly() -> None:
    """One stage has no rhythm to find: a million minibatches take a million times what one takes."""
    schedule = schedule_of("1f1b", 1, 1_000_000)
    spans = simulate(schedule, durations_by_kind(schedule, [Duration(1, 2, 1)]))
    assert makespan_s(spans) + unlisted_s(schedule, spans) == 4_000_000
    assert throughput(schedule, spans, 8, unlisted_s(schedule, spans)) == 2
    assert all(one.end_s == two.start_s for row in spans for one, two in pairwise(row))
