import random

from profiler.rounds import interval


def test_one_sample_or_equal_samples_have_no_width() -> None:
    assert interval([3.0]) == (3.0, 3.0, 3.0)
    assert interval([3.0, 3.0, 3.0]) == (3.0, 3.0, 3.0)


def test_the_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    drawn = random.Random(7)  # noqa: S311
    hits = 0
    for _ in range(60):
        _, low, high = interval([drawn.gauss(0, 1) for _ in range(25)])
        hits += low <= 0 <= high
    assert hits >= 51, "95% of 60 is 57; fewer than 51 has a chance below one in a thousand"
