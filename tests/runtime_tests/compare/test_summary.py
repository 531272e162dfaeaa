"""What is worked out from runs: medians, intervals, ratios, ranks and ties, against numpy and by hand."""

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from comparisons import MINIBATCHES, comparison, empty, measured, plans, record, request, with_runs
from hypothesis import given
from hypothesis import strategies as st
from strategies import MACHINE, chain

from optimizer.planning import Planner
from runtime.compare import coverage, new_comparison, tied
from runtime.compare.contender import spread_of
from runtime.compare.ranking import ratio_of


def test_medians_and_intervals_of_the_runs() -> None:
    found = {part.name: part for part in comparison().partitions}
    ours = found["optimized"].throughput_samples_per_s
    assert ours is not None
    assert (ours.median, ours.runs) == (30.0, (20.0, 40.0, 30.0))
    assert 20.0 <= ours.low <= 30.0 <= ours.high <= 40.0
    makespan = found["end-load"].makespan_s
    assert makespan is not None
    assert makespan.median == pytest.approx(16 / 12)


def test_a_ratio_is_taken_round_by_round() -> None:
    found = comparison()
    ratio = found.ratio("end-load")
    assert ratio is not None
    assert ratio.runs == pytest.approx((2.0, 40 / 15, 2.5))
    assert ratio.median == pytest.approx(float(np.median([2.0, 40 / 15, 2.5])))
    own = found.ratio("optimized")
    assert own is not None
    assert (own.low, own.median, own.high) == (1.0, 1.0, 1.0)


def test_a_round_in_which_either_failed_gives_no_ratio() -> None:
    found = comparison({"optimized": (20.0, None, 30.0), "end-load": (10.0, 15.0, None)})
    ratio = found.ratio("end-load")
    assert ratio is not None
    assert ratio.runs == (2.0,)
    assert not tied(ratio), "of a single round nothing can be said"
    assert found.complete, "a run that failed is done"


def test_an_equal_split_shows_the_runs_of_the_one_that_ran() -> None:
    named = plans("optimized", "end-load", "front-load")
    found = comparison({"optimized": (3.0, 3.0), "end-load": (1.0, 1.0)}, named=named)
    parts = {part.name: part for part in found.partitions}
    assert parts["front-load"].same_as == "optimized"
    assert parts["front-load"].throughput_samples_per_s == parts["optimized"].throughput_samples_per_s
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


SPEEDS = st.lists(st.floats(1.0, 100.0), min_size=2, max_size=6)


@given(ours=SPEEDS, theirs=SPEEDS)
def test_an_interval_lies_within_the_runs_around_their_median(ours: list[float], theirs: list[float]) -> None:
    found = ratio_of(*(dict(enumerate(one)) for one in (ours, theirs)))
    assert found is not None
    paired = [one / other for one, other in zip(ours, theirs, strict=False)]
    assert found.median == pytest.approx(float(np.median(paired)))
    assert min(paired) <= found.low * (1 + 1e-12)
    assert found.low <= found.median <= found.high
    assert found.high <= max(paired) * (1 + 1e-12)


def test_few_runs_cannot_carry_95_per_cent() -> None:
    drawn = np.random.default_rng(0)
    for runs in (2, 3, 5, 6):
        samples = drawn.standard_normal((20_000, runs))
        held = np.mean((samples.min(axis=1) < 0) & (samples.max(axis=1) > 0))
        assert coverage(runs) == pytest.approx(held, abs=0.02)
    assert coverage(5) < 0.95 < coverage(6)
    assert spread_of([]) is None


def test_a_comparison_tells_of_the_layers_and_doubts_of_the_profile_that_it_was_planned_with() -> None:
    profile = replace(chain([1, 1, 1, 9]), closure_error=0.3)
    named = {"optimized": Planner(profile, 2, MINIBATCHES).optimized()}
    with patch("runtime.compare.begin.this_machine", lambda: MACHINE):
        found = new_comparison(
            request(asked=("optimized",)), "wall", named, profile, whole=profile, baselines=False, left_out=(), forms=""
        )
    assert [layer.step_s for layer in found.layers] == [layer.step_s for layer in profile.layers]
    assert any("off by 30%" in warning for warning in found.profile_warnings)
