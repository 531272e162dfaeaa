"""Times of another host's clock, put on the first one's: algebra against a made-up clock that is off and drifts."""

from dataclasses import replace

import pytest

from runtime.hosts.clock_sync import Reading, shifted
from runtime.results import ActionRecord, StageRun, StageTimes

TIMES = StageTimes(
    minibatches=1, began_s=7.0, ended_s=9.0, forward_s=1.0, backward_s=0.0, weights_s=0.0, update_s=0.0, cpu_s=1.0,
    wait_s=0.25, peak_rss_bytes=1,
)  # fmt: skip
RUN = StageRun(stage=1, host="there", core=0, whole=TIMES, actions=())


def record(start_s: float) -> ActionRecord:
    return ActionRecord(
        kind="F", minibatch=0, version=0, wait_s=0.25, start_s=start_s, computed_s=start_s + 1, end_s=start_s + 2,
        cpu_s=1.5, sent_bytes=8, page_faults=3,
    )  # fmt: skip


def test_a_clock_that_is_off_and_drifts_evenly_is_undone_exactly() -> None:
    def here_s(there_s: float) -> float:
        return 5e5 + there_s * (1 + 4e-5)

    readings = [Reading(here_s(there_s), there_s - here_s(there_s), 1e-4) for there_s in (10.0, 110.0)]
    true_s = [12.0, 57.0, 99.0]
    actions = tuple(record(here_s(start_s)) for start_s in true_s)
    found = shifted(replace(RUN, actions=actions), *readings)
    assert found.clock_error_s == 1e-4
    assert [one.start_s for one in found.actions] == pytest.approx(true_s, abs=1e-8)
    assert [one.end_s - one.start_s for one in found.actions] == pytest.approx([2 / (1 + 4e-5)] * 3, abs=1e-8)
    assert {(one.wait_s, one.cpu_s, one.sent_bytes) for one in found.actions} == {(0.25, 1.5, 8)}


def test_readings_at_the_same_time_shift_alone() -> None:
    reading = Reading(5.0, -2.0, 0.0)
    found = shifted(replace(RUN, actions=(record(7.0),)), reading, reading)
    assert found.actions[0].start_s == found.whole.began_s == 5.0
    assert found.whole.ended_s == 7.0
