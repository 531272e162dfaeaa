"""Schedules against their own promises: order, depth and updates."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paces import some_schedule

from optimizer.schedule import PLAIN_1F1B, SCHEDULES, Pace, ScheduleName, groups, pace_of, schedule_of
from optimizer.schedule.schedule import versions_used
from profiler.errors import ConfigError

names = st.sampled_from(list(SCHEDULES))


@pytest.mark.parametrize(
    ("name", "every", "rows"),
    [
        ("1f1b", 8, [
            "0F0 0F1 0F2 0B0 0U0 0F3 0B1 0U1 0B2 0U2 0B3 0U3",
            "1F0 1F1 1B0 1U0 1F2 1B1 1U1 1F3 1B2 1U2 1B3 1U3",
            "2F0 2B0 2U0 2F1 2B1 2U1 2F2 2B2 2U2 2F3 2B3 2U3",
        ]),
        ("2bw", 3, [
            "0F0 0F1 0F2 0B0 0F3 0B1 0B2 0U2 0B3 0U3",
            "1F0 1F1 1B0 1F2 1B1 1F3 1B2 1U2 1B3 1U3",
            "2F0 2B0 2F1 2B1 2F2 2B2 2U2 2F3 2B3 2U3",
        ]),
        ("1f1b-flush", 3, [
            "0F0 0F1 0F2 0B0 0B1 0B2 0U2 0F3 0B3 0U3",
            "1F0 1F1 1B0 1F2 1B1 1B2 1U2 1F3 1B3 1U3",
            "2F0 2B0 2F1 2B1 2F2 2B2 2U2 2F3 2B3 2U3",
        ]),
        ("gpipe", 2, [
            "0F0 0F1 0B0 0B1 0U1 0F2 0F3 0B2 0B3 0U3",
            "1F0 1F1 1B0 1B1 1U1 1F2 1F3 1B2 1B3 1U3",
            "2F0 2F1 2B0 2B1 2U1 2F2 2F3 2B2 2B3 2U3",
        ]),
        ("sequential", 8, [
            "0F0 0B0 0U0 0F1 0B1 0U1 0F2 0B2 0U2 0F3 0B3 0U3",
            "1F0 1B0 1U0 1F1 1B1 1U1 1F2 1B2 1U2 1F3 1B3 1U3",
            "2F0 2B0 2U0 2F1 2B1 2U1 2F2 2B2 2U2 2F3 2B3 2U3",
        ]),
    ],
)  # fmt: skip
def test_the_schedules_print_as_in_the_papers(name: ScheduleName, every: int, rows: list[str]) -> None:
    assert [" ".join(map(str, row)) for row in schedule_of(name, 3, 4, every).rows] == rows


@settings(deadline=None)
@given(name=names, stages=st.integers(1, 5), minibatches=st.integers(1, 9), every=st.integers(1, 5))
def test_every_minibatch_passes_every_stage_once_and_in_order(
    name: ScheduleName, stages: int, minibatches: int, every: int
) -> None:
    schedule = some_schedule(name, stages, minibatches, every)
    assert schedule.minibatches == minibatches
    for row in schedule.rows:
        for kind in ("F", "B"):
            assert [a.minibatch for a in row if a.kind == kind] == list(range(minibatches))
        updates = [a.minibatch for a in row if a.kind == "U"]
        assert updates == [group[-1] for group in groups(minibatches, schedule.pace.update_every)]
        assert updates[-1] == minibatches - 1, "no gradient is left over"


@given(stages=st.integers(1, 5), minibatches=st.integers(1, 9))
def test_1f1b_uses_the_version_that_weight_stashing_prescribes(stages: int, minibatches: int) -> None:
    for stage, row in enumerate(schedule_of("1f1b", stages, minibatches).rows):
        ahead = min(stages - stage, minibatches)
        assert versions_used(PLAIN_1F1B, row) == {b: max(0, b - ahead + 1) for b in range(minibatches)}


@given(stages=st.integers(1, 6), minibatches=st.integers(1, 20), more=st.integers(0, 3))
def test_2bw_uses_the_weights_before_last_and_they_are_there_when_needed(
    stages: int, minibatches: int, more: int
) -> None:
    every = stages + more
    for row in schedule_of("2bw", stages, minibatches, every).rows:
        newest = 0
        for action in row:
            newest += action.kind == "U"
            if action.kind != "U":
                assert newest - 1 <= max(0, action.minibatch // every - 1) <= newest, "one of the last two versions"
        assert versions_used(Pace("2bw", every), row) == {b: max(0, b // every - 1) for b in range(minibatches)}


def test_fewer_minibatches_an_update_than_stages_are_refused_with_the_reason() -> None:
    assert pace_of("2bw", 4) == Pace("2bw", 4)
    with pytest.raises(ConfigError, match="some would use weights that are two updates old; use --accumulate 4 or mor"):
        pace_of("2bw", 4, 3)
