"""What runs say of speeds: intervals hold the truth as often as they claim, on simulated rounds; and algebra."""

import numpy as np
import pytest

from runtime.compare.posterior import posterior
from runtime.compare.ranking import ranking

Rows = np.ndarray


def speeds_of(logarithms: Rows) -> dict[str, dict[int, float]]:
    """Contenders ``0``, ``1``, … with a run in each round."""
    return {
        str(row): {number: float(np.exp(one)) for number, one in enumerate(own, 1)}
        for row, own in enumerate(logarithms)
    }


def rounds(random: np.random.Generator, truth: Rows, noise: float, count: int) -> Rows:
    shape = (len(truth), count)
    return truth[:, None] + random.normal(0, 0.1, (1, count)) + random.normal(0, noise, shape)


@pytest.mark.parametrize(("noise", "count"), [(0.01, 2), (0.03, 3), (0.1, 4)])
def test_an_interval_holds_the_true_ratio_with_95_per_cent(noise: float, count: int) -> None:
    random, truth, held = np.random.default_rng(0), np.array([0.0, -0.1, -0.3, -0.02]), 0
    races = 60
    for _ in range(races):
        ratio = posterior(speeds_of(rounds(random, truth, noise, count))).ratio("0", "1")
        held += ratio.low <= np.exp(0.1) <= ratio.high
    assert held / races >= 0.88, "95%, less what sixty draws may miss it by"


def test_figures_follow_from_one_another_and_do_not_depend_on_the_unit() -> None:
    table = rounds(np.random.default_rng(1), np.array([0.0, -0.1, -0.2]), 0.02, 3)
    known, double = posterior(speeds_of(table)), posterior(speeds_of(table + np.log(2)))
    there, back = known.ratio("0", "2"), known.ratio("2", "0")
    assert there.median == pytest.approx(1 / back.median)
    assert there.low == pytest.approx(1 / back.high, rel=1e-3)
    assert there.median == pytest.approx(known.ratio("0", "1").median * known.ratio("1", "2").median)
    assert double.speed("1").median == pytest.approx(2 * known.speed("1").median)
    assert double.ratio("0", "2").high == pytest.approx(there.high, rel=1e-3)
    assert known.ratio("1", "1") == known.ratio("2", "2")
    assert 0.95 <= sum(known.chance(name, known.names) for name in known.names) <= len(known.names)


def test_with_many_rounds_the_ratio_is_the_mean_of_paired_logarithms_with_students_interval() -> None:
    """Of two contenders with normal noise, up to what the tails that are assumed differ by."""
    table = rounds(np.random.default_rng(2), np.array([0.0, -0.1]), 0.03, 40)
    paired = table[0] - table[1]
    ratio = posterior(speeds_of(table)).ratio("0", "1")
    half = 2.02 * paired.std(ddof=1) / 40**0.5
    assert np.log(ratio.median) == pytest.approx(paired.mean(), abs=half / 2)
    assert np.log(ratio.high / ratio.low) / 2 == pytest.approx(half, rel=0.35)


def test_a_slow_run_moves_nothing_and_a_round_that_was_slow_for_all_neither() -> None:
    table = np.log(np.array([[10.0, 10.1, 9.9, 10.0], [9.0, 9.1, 9.0, 8.9], [5.0, 5.1, 5.0, 5.0]]))
    usual = posterior(speeds_of(table)).ratio("0", "1")
    table[1, 2] -= 0.4
    assert posterior(speeds_of(table)).ratio("0", "1").median == pytest.approx(usual.median, rel=0.02)
    table[1, 2] += 0.4
    table[:, 2] -= 0.4
    assert posterior(speeds_of(table)).ratio("0", "1").median == pytest.approx(usual.median, rel=0.005)


def test_promises_count_while_there_are_few_runs_and_their_common_pace_does_not() -> None:
    speeds = {"promised": {1: 10.0}, "other": {1: 10.0}}
    promises = {"promised": 30.0, "other": 10.0}
    alone, told = posterior(speeds), posterior(speeds, promises)
    assert alone.ratio("promised", "other").median == pytest.approx(1.0, rel=1e-6)
    assert told.ratio("promised", "other").median > 1.02
    slower = posterior(speeds, {name: promise / 2 for name, promise in promises.items()})
    assert slower.ratio("promised", "other").median == pytest.approx(told.ratio("promised", "other").median)


def test_a_round_more_than_once_is_needed_to_tell_near_ones_apart_and_the_number_of_rounds_says_so() -> None:
    random, truth = np.random.default_rng(3), np.array([0.0, -0.06, -0.5])
    table = rounds(random, truth, 0.04, 12)
    few = ranking(posterior(speeds_of(table[:, :2])), ["0", "1", "2"], 2)
    assert not few.firm
    assert few.more_rounds > 0
    many = ranking(posterior(speeds_of(table)), ["0", "1", "2"], 12)
    assert many.firm
    assert many.more_rounds == 0
    assert many.order == ("0", "1", "2")
    assert many.ranks["2"] == 3
