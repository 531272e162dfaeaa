"""Times of another host's clock, put on the first one's."""

from runtime.hosts.clock_sync import shifted
from runtime.results import ActionRecord, StageRun, StageTimes

TIMES = StageTimes(
    minibatches=1, began_s=7.0, ended_s=9.0, forward_s=1.0, backward_s=0.0, weights_s=0.0, update_s=0.0, cpu_s=1.0,
    wait_s=0.25, peak_rss_bytes=1,
)  # fmt: skip
RECORD = ActionRecord(kind="F", minibatch=0, version=0, wait_s=0.25, start_s=7.0, computed_s=8.0, end_s=9.0, cpu_s=1.5)
RUN = StageRun(stage=1, host="there", core=0, whole=TIMES, actions=(RECORD,))


def test_a_clock_that_is_off_is_undone_and_what_lasts_stays_as_long() -> None:
    found = shifted(RUN, -2.0)
    (record,) = found.actions
    assert (record.start_s, record.computed_s, record.end_s) == (5.0, 6.0, 7.0)
    assert (found.whole.began_s, found.whole.ended_s) == (5.0, 7.0)
    assert (record.wait_s, record.cpu_s, found.whole.wait_s) == (0.25, 1.5, 0.25)
