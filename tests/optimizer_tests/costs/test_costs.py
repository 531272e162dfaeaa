from optimizer.costs.costs import copy_ns
from profiler.profile import CopyCost


def test_copying_is_interpolated_between_and_beyond_the_measured_sizes() -> None:
    link = CopyCost(sizes_bytes=(1000, 3000), copy_s=(1e-6, 5e-6))
    assert copy_ns(link, 0) == 0
    assert copy_ns(link, 500) == 1000
    assert copy_ns(link, 2000) == 3000
    assert copy_ns(link, 6000) == 10_000
    assert copy_ns(CopyCost(sizes_bytes=(), copy_s=()), 6000) == 0
