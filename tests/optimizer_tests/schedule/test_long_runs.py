"""A schedule lists the first minibatches of a long run: what it says by them is what the whole list says."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paces import plain
from simulations import simulated

from optimizer.schedule import (
    MOST_LISTED,
    SCHEDULES,
    Duration,
    Pace,
    bubble_share,
    makespan_s,
    pace_of,
    schedule_of,
    throughput,
    unlisted_s,
)

LONG = 2 * MOST_LISTED


@st.composite
def paces(draw: st.DrawFn) -> tuple[Pace, int]:
    stages = draw(st.integers(1, 4))
    name, every = draw(st.sampled_from(list(SCHEDULES))), draw(st.sampled_from([1, 2, 3, 7, 8, 64]))
    return pace_of(name, stages, every), stages


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
    """Figures by what stands for a run are those of the whole but for what is in flight, for drawn durations."""
    rel += stages / minibatches
    times = st.floats(0.1, 10)
    durations = [Duration(*(data.draw(times) for _ in range(4))) for _ in range(stages)]
    rows = data.draw(st.lists(st.lists(times, min_size=stages, max_size=stages), max_size=2))
    whole = schedule_of(pace, stages, minibatches)
    short = replace(whole, minibatches=whole.in_short)
    short_spans, spans = (simulated(own, durations, *rows) for own in (short, whole))
    further_s = unlisted_s(whole, short_spans)
    assert (further_s > 0, unlisted_s(whole, spans)) == (True, 0)
    assert makespan_s(short_spans) + further_s == pytest.approx(makespan_s(spans), rel=rel)
    assert throughput(whole, short_spans, 4, further_s) == pytest.approx(throughput(whole, spans, 4, 0), rel=rel)
    assert bubble_share(whole, short_spans, further_s) == pytest.approx(bubble_share(whole, spans, 0), abs=2 * rel)


def test_stages_that_are_nearly_as_slow_are_timed_by_the_slowest() -> None:
    """The last stage is fed for longer than the list is from what is in flight before it."""
    minibatches = 100_001
    durations = [Duration(1, 2, 4), Duration(1, 1, 1), Duration(1, 1, 1), Duration(2, 2, 2.99)]
    whole = plain(4, minibatches)
    spans = simulated(replace(whole, minibatches=whole.in_short), durations)
    further_s = unlisted_s(whole, spans)
    assert further_s == pytest.approx((minibatches - whole.in_short) * 7)
    assert makespan_s(spans) + further_s == pytest.approx(minibatches * 7, rel=1e-3)
    assert throughput(whole, spans, 1, further_s) == pytest.approx(1 / 7, rel=1e-3)


@pytest.mark.parametrize("minibatches", [MOST_LISTED, MOST_LISTED + 1, 1_000_000])
def test_the_list_of_a_long_run_is_short(minibatches: int) -> None:
    assert plain(4, minibatches).listed == MOST_LISTED


def test_a_run_ends_with_its_last_update_which_may_be_smaller() -> None:
    whole = schedule_of(Pace("1f1b-flush", 8), 2, 8 * 10_000 + 3)
    assert (whole.listed, whole.in_short) == (MOST_LISTED, MOST_LISTED + 3)


def test_the_list_is_as_long_as_what_is_in_flight_asks_for() -> None:
    for pace, stages in ((Pace("gpipe", 900), 2), (Pace("1f1b", 1), 600), (Pace("1f1b-flush", 7000), 2)):
        listed = pace.listed(stages, 1_000_000)
        assert listed >= 4 * pace.in_flight(stages, 0, 1_000_000) or pace.rule.synchronous
        assert listed >= 3 * pace.update_every
        assert listed % pace.update_every == 0
    assert [Pace("gpipe", 900).listed(2, own) for own in (5, 2700, 10**6)] == [5, 2700, 2700]


def test_a_steady_run_goes_on_exactly() -> None:
    """One stage has no rhythm to find: a million minibatches take a million times what one takes."""
    whole = plain(1, 1_000_000)
    spans = simulated(replace(whole, minibatches=whole.in_short), [Duration(1, 2, 1)])
    assert makespan_s(spans) + unlisted_s(whole, spans) == 4_000_000
    assert throughput(whole, spans, 8, unlisted_s(whole, spans)) == 2
    assert all(one.end_s == two.start_s for row in spans for one, two in pairwise(row))
