"""What is worked out from runs, by hand."""

import pytest
from comparisons import comparison, empty, measured, plans, record, with_runs


def test_speeds_ratios_and_ranks_of_the_runs() -> None:
    found = comparison({"optimized": (20.0, 20.2, 19.8), "end-load": (10.0, 10.1, 9.9)})
    speed, behind = found.speed("optimized"), found.behind("end-load")
    assert speed is not None
    assert behind is not None
    assert speed.median == pytest.approx(20.0, rel=0.01)
    assert behind.median == pytest.approx(2.0, rel=0.01)
    assert behind.low < 2.0 < behind.high
    assert found.behind("optimized") == found.between("end-load", "end-load")
    assert [found.rank(name) for name in ("optimized", "end-load", "one core")] == [1, 2, None]
    makespan_s = comparison().contender("end-load").makespan_s
    assert makespan_s == pytest.approx(16 / 12)


def test_an_equal_split_shows_the_runs_of_the_one_that_ran() -> None:
    named = plans("optimized", "end-load", "front-load")
    found = comparison({"optimized": (3.0, 3.0), "end-load": (1.0, 1.0)}, named=named)
    parts = {part.name: part for part in found.partitions}
    assert parts["front-load"].same_as == "optimized"
    assert found.speed("front-load") == found.speed("optimized")
    assert found.rank("front-load") == found.rank("optimized") == 1


def test_prediction_stands_beside_measurement_stage_by_stage() -> None:
    for part in comparison(slower=1.1).partitions:
        assert part.predicted_throughput_samples_per_s == part.plan.predicted.throughput_samples_per_s
        for stage, planned in zip(part.stages, part.plan.stages, strict=True):
            assert stage.predicted_s == pytest.approx(planned.total_s)
            assert stage.busy_s == pytest.approx(1.1 * (planned.total_s - planned.send_s) + planned.send_s)


def test_the_peak_is_the_largest_of_all_runs_and_unknown_if_none_is_known() -> None:
    named = plans("optimized", "end-load")
    runs = [
        record("optimized", number, 1.0, measured(named["optimized"], peak=peak))
        for number, peak in enumerate((5, None, 7), 1)
    ]
    runs.append(record("end-load", 1, 1.0, measured(named["end-load"], peak=None)))
    found = with_runs(empty(named), runs)
    assert [stage.measured.peak_rss_bytes for part in found.partitions for stage in part.stages] == [
        7,
        7,
        None,
        None,
    ]
