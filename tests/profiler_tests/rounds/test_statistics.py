import random

from profiler.rounds import interval
from profiler.rounds.statistics import timing


def test_the_interval_holds_the_median_and_lies_within_the_samples() -> None:
    samples = [random.Random(1).gauss(10, 1) for _ in range(1)] + [9.0, 10.0, 11.0, 12.0, 30.0]  # noqa: S311
    median, low, high = interval(samples)
    assert min(samples) <= low <= median <= high <= max(samples)


def test_one_sample_or_equal_samples_have_no_width() -> None:
    assert interval([3.0]) == (3.0, 3.0, 3.0)
    assert interval([3.0, 3.0, 3.0]) == (3.0, 3.0, 3.0)


def test_the_same_samples_give_the_same_interval() -> None:
    samples = [1.0, 5.0, 2.0, 4.0, 3.0]
    assert interval(samples) == interval(samples)
    assert timing(samples).samples_s == tuple(samples)
    assert timing(samples).median_s == 3.0


def test_the_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    drawn = random.Random(7)  # noqa: S311
    hits = 0
    for _ in range(60):
        _, low, high = interval([drawn.gauss(0, 1) for _ in range(25)])
        hits += low <= 0 <= high
    assert hits >= 51, "95% of 60 is 57; fewer than 51 has a chance below one in a thousand"
